/* usage.h -- what was used and spent, out of the ledger's sums.
 *
 * It adds up by hash as it reads; a database would sort all that it reads first. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "sums.h"

struct ledger;

enum usage_by { /* bits */
                USAGE_KEY = 1 << 0,
                USAGE_TEAM = 1 << 1,
                USAGE_MODEL = 1 << 2,
                USAGE_TARGET = 1 << 3,
                USAGE_DAY = 1 << 4,
};

struct usage_question {
    unsigned by;
    bool of_days;    /* of whole days, of which there are fewer rows; else of quarters of an hour */
    int64_t quarter; /* since then */
    int64_t ends;    /* the quarter before which it ends */
    /* Of that key, team, model or target alone; less than 0, or NULL: of any. */
    int32_t key, team;
    const char *model, *target;
};

/* What is summed up, to be freed; of days, a sum's quarter is the one that its day begins with.
 * NULL: the ledger cannot be read (ledger_problem). */
struct sums *usage_new(struct ledger *ledger, const struct usage_question *question);
