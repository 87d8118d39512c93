/* sums.h -- what rows come to, by some of quarter of an hour, key, team, model and target.
 *
 * Rows that are written together mostly share all of these, so that the ledger
 * adds each sum once; and rows that are asked for share what they are asked by.
 * A plain table in memory; it knows no database. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "accounts/journal.h"
#include "leaves/err.h"

enum sums_count {
    SUMS_REQUESTS,
    SUMS_ERRORS, /* of these */
    SUMS_ATTEMPTS,
    SUMS_PROMPT, /* this and the next are the attempts' */
    SUMS_COMPLETION,
    SUMS_CACHED,
    SUMS_REASONING,
    SUMS_COST,
    SUMS_ESTIMATED,
    SUMS_COUNTS,
};

struct sums_key {    /* what does not matter is 0 and empty */
    int64_t quarter; /* when the rows ended: 900 seconds each since 1970 */
    int32_t account, team;
    struct slice model, target; /* borrowed; at most JOURNAL_TEXT - 1 bytes of them are kept */
};

struct sum { /* a plain value */
    int64_t quarter;
    int32_t account, team;
    char model[JOURNAL_TEXT], target[JOURNAL_TEXT];
    int64_t counts[SUMS_COUNTS];
};

struct sums;

struct sums *sums_new(void);
void sums_free(struct sums *sums); /* accepts NULL */

/* The sum of that key, made where there is none; borrowed until the next call. */
struct sum *sums_get(struct sums *sums, const struct sums_key *key);

/* A row as a worker closed it. */
void sums_add(struct sums *sums, const struct journal_slot *slot);

size_t sums_len(const struct sums *sums);
const struct sum *sums_at(const struct sums *sums, size_t at); /* borrowed until the next change */
void sums_clear(struct sums *sums);
