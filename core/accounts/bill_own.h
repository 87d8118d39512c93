/* bill_own.h -- what the files of the bills share: bill.c opens and closes them, bill_unrecorded.c
 * those that the journal has no room for, bill_refusal.c words why there is none.  Nobody else
 * includes it. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "bill.h"
#include "budget.h"
#include "journal.h"

struct tally;

enum { BILL_LIMITS = BUDGET_CONCURRENT + 1, BILL_RECORDED = 256 };

struct bills {
    struct keys *keys;
    struct budget *budget;
    char *journals;
    struct journal *journal; /* NULL: there is none now */
    int seat;                /* -1: none yet */
    int64_t retry_at_us;
    int32_t *loose;    /* by account: unrecorded requests under way; NULL: there were none yet */
    int64_t say_at_us; /* when the log may be told again that there is no room */
    int64_t recorded_us[BILL_RECORDED]; /* when a refusal was recorded last; 0: none was */
    struct tally *refused[2][BILL_LIMITS], *unavailable, *unrecorded; /* NULL: not counted */
};

struct bill {
    struct bills *bills;
    struct keys_account account;
    int at;         /* of its slot; -1: it goes unrecorded */
    unsigned users; /* the request, and items that run */
    int items;      /* so far */
    struct chunk_usage usage;
    int64_t cost, tokens;
    bool is_estimated;
};

void bill_set_text(char *to, size_t size, struct slice text); /* cuts it between characters */
struct bill *bill_make(struct bills *bills, const struct keys_account *account, int at);

/* ---- bill_unrecorded.c ---- */

MUST_CHECK bool bill_open_unrecorded(struct bills *bills, const struct keys_account *account,
                                     int64_t tokens, struct bill **bill,
                                     struct bill_refusal *refusal);
void bill_leave_unrecorded(struct bill *bill);

/* ---- bill_refusal.c ---- */

/* Each fills out, and counts it. */
void bill_refuse(struct bills *bills, const struct budget_refusal *seen, bool is_team,
                 struct bill_refusal *out);
void bill_refuse_model(const struct bills *bills, const struct keys_account *account,
                       struct slice model, struct bill_refusal *out);
/* There is no room to record it.  False: it goes unrecorded, as no budget asks for a record. */
bool bill_refuse_unrecorded(struct bills *bills, const struct keys_account *account,
                            struct bill_refusal *out);

/* ---- bill_record.c ---- */

/* A row of a request that was refused, if one is due. */
void bill_record_refusal(struct bills *bills, const struct keys_account *account,
                         const struct bill_request *request, const struct bill_refusal *refusal);
