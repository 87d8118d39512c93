/* bill.h -- who pays for a request: its place in the journal, and its attempts' reservations.
 *
 * A bill is opened before a policy starts and an item of it before an attempt
 * leaves: nothing that reaches a provider is without one.  It knows limits and
 * money, the shared tables and the worker's journal, and nothing of how a
 * request is served.  Without a ledger there are no bills: NULL everywhere. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "keys.h"
#include "leaves/buf.h"
#include "parsers/chunk.h"

struct bill;
struct bill_item;
struct bills;
struct budget;
struct tallies;

struct bill_price { /* micro-dollars for a million tokens; all 0: free, or not known */
    int64_t input, cached, output, reasoning;
    bool is_own; /* weir.lua's */
};

struct bill_need { /* tokens that an attempt may use */
    int64_t prompt, completion;
};

struct bill_refusal { /* for the client */
    int status;
    const char *type, *code;
    const char *param; /* the member that it is about, or NULL */
    const char *word;  /* that the ledger has for it, or NULL */
    char message[320];
    int retry_s; /* 0: not said */
};

struct bill_request { /* all borrowed during the call */
    const char *id;
    struct slice model;
    int endpoint;
    unsigned generation;
    int64_t tokens; /* that it may use, of the limit of tokens a minute */
};

/* ---- a worker's ---- */

struct bills *bills_new(struct keys *keys, struct budget *budget, const char *journals);
void bills_free(struct bills *bills);                           /* after all bills; accepts NULL */
void bills_meter(struct bills *bills, struct tallies *tallies); /* counts refusals from now on */
bool bills_are_ready(const struct bills *bills);                /* the ledger's keys are loaded */
/* Whose key the text is; false: nobody's that may come in. */
bool bills_find(struct bills *bills, struct slice key, struct keys_account *account);
/* That account, as long as it may come in. */
bool bills_get(struct bills *bills, int32_t number, struct keys_account *account);
/* Whether the key, and its team, may ask for the model. */
bool bills_allow(const struct bills *bills, const struct keys_account *account, struct slice model);
/* As JSON, for the key's own client: what it may, has spent, and has left. */
void bills_show(const struct bills *bills, const struct keys_account *account, struct buf *json);

/* ---- a request's ---- */

/* False: refusal says why. */
MUST_CHECK bool bill_open(struct bills *bills, const struct keys_account *account,
                          const struct bill_request *request, struct bill **bill,
                          struct bill_refusal *refusal);
/* False: no budget asks for a record, and there is no room for one. */
bool bill_is_recorded(const struct bill *bill);
const struct keys_account *bill_account(const struct bill *bill);
const char *bill_team(const struct bill *bill); /* NULL: none */
int64_t bill_left(const struct bill *bill);     /* micro-dollars that may still be spent; -1: any */
int64_t bill_cost_so_far(const struct bill *bill); /* of attempts that are over; accepts NULL */
bool bill_is_low(const struct bill *bill);         /* a soft limit is passed */

bool bill_is_under_way(const struct bill *bill); /* an attempt is not over; accepts NULL */

/* How it ended; bill_close takes it down when the last attempt has. */
void bill_end(struct bill *bill, int status, const char *code, struct slice target,
              int64_t first_ms, int64_t total_ms);
void bill_close(struct bill *bill); /* accepts NULL */

/* ---- an attempt's ---- */

/* False: it may cost more than is left.  item is NULL without a bill. */
MUST_CHECK bool bill_send(struct bill *bill, struct slice target, const struct bill_price *price,
                          struct bill_need need, struct bill_item **item,
                          struct bill_refusal *refusal);

void bill_item_note(struct bill_item *item, const char *code); /* what came of it; accepts NULL */

struct bill_outcome {
    struct chunk_usage usage;
    int64_t said_bytes;   /* of what the model wrote, as far as it came */
    int64_t told_cost;    /* by a provider that says what it charges; -1: not said */
    int64_t untold_bytes; /* of these, that no usage told of, as the answer was cut */
    bool was_sent;
    bool was_refused; /* an error came in place of an answer */
    int status;       /* 0: none came */
    int64_t first_ms, total_ms;
};

/* It is over: charged, or released.  Gives what it cost, micro-dollars.  Accepts NULL. */
int64_t bill_item_end(struct bill_item *item, const struct bill_outcome *outcome);
/* The same of one that was never sent. */
void bill_item_drop(struct bill_item *item);

/* What so much usage costs, rounded up to a micro-dollar. */
int64_t bill_cost(const struct bill_price *price, const struct chunk_usage *usage);

/* Micro-dollars as $12.50: cents at least. */
void bill_say_money(char *to, size_t size, int64_t micro);
