/* budget.h -- what each key and team has spent, reserved and under way, in memory that all workers
 * share.
 *
 * Each change is whole: of the key and its team, or of neither, and a worker
 * killed at any instant has made it or has not, which the number of the change
 * tells (budget_applied).  Money is in micro-dollars.  It knows the journal's
 * slots, whose changes these are, and the limits in keys.h, but no ledger. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "journal.h"
#include "keys.h"

enum {
    BUDGET_SEATS = 2048,         /* workers, the dead that are not yet settled among them */
    BUDGET_CLERK = BUDGET_SEATS, /* the clerk's own, for what it does in nobody's place */
    BUDGET_NOTICES = 1024,       /* that wait to be told */
};

struct budget;

enum budget_word {
    BUDGET_GRANTED,
    BUDGET_SPENT, /* nothing is left of the budget, or too little for this attempt */
    BUDGET_RPM,
    BUDGET_TPM,
    BUDGET_CONCURRENT,
    BUDGET_UNKNOWN, /* what it may is being written, or its writer died */
};

struct budget_refusal { /* the first of key and team that is in the way */
    enum budget_word word;
    int32_t number;       /* whose limit it is */
    int64_t limit, spent; /* of a budget: micro-dollars, spent and reserved */
    int64_t needed;       /* for an attempt */
    int64_t wait_us;      /* until it is worth to ask again; -1: not known */
};

struct budget_loose { /* a request that nobody records */
    int32_t account, team;
    int64_t at_once[2]; /* of the account and of the team: others that are under way here */
};

struct budget_purse { /* as it stands; a plain value */
    int64_t spent;    /* in the window that runs */
    int64_t reserved, inflight;
    int64_t starts_s, renews_s, next_s; /* wall clock; renews_s 0: never */
    int64_t total;                      /* spent since the memory was made */
    int64_t told;                       /* in this window: budget_event, or'ed */
};

enum budget_event {
    BUDGET_LOW = 1, /* the soft limit is passed */
    BUDGET_GONE,    /* a first request is refused for want of money */
};

struct budget_notice { /* how it stood; a plain value */
    enum budget_event event;
    int32_t number;
    int64_t budget, spent, reserved, renews_s;
};

struct budget *budget_new(struct keys *keys); /* in memory that children share; keys is borrowed */
void budget_free(struct budget *budget);
uint64_t budget_run(const struct budget *budget); /* a number that no other has */

/* A seat that is this worker's until it is dead and settled; -1: none is free. */
int budget_sit(struct budget *budget);

/* A request begins that may use so many tokens; slot says whose it is. */
bool budget_enter(struct budget *budget, int seat, struct journal_slot *slot, int64_t tokens,
                  int64_t now_us, int64_t wall_s, struct budget_refusal *refusal);
/* The same of one that is not recorded, and does not leave: it counts as a request of this minute,
 * but among those at once only for who asks. */
bool budget_check(struct budget *budget, const struct budget_loose *loose, int64_t tokens,
                  int64_t now_us, int64_t wall_s, struct budget_refusal *refusal);
/* It is over, having used so many. */
void budget_leave(struct budget *budget, int seat, struct journal_slot *slot, int64_t tokens,
                  int64_t now_us);

/* The number of the change that closes a slot, for slot->op; before it is SETTLING. */
uint64_t budget_next(struct budget *budget, int seat);

/* An attempt may cost slot->reserved; and did cost slot->cost. */
bool budget_reserve(struct budget *budget, int seat, struct journal_slot *slot, int64_t wall_s,
                    struct budget_refusal *refusal);
void budget_settle(struct budget *budget, int seat, struct journal_slot *slot, int64_t wall_s);

struct budget_purse budget_look(struct budget *budget, int32_t number, int64_t wall_s);
/* What the key may still spend, its team's budget considered; -1: any amount. */
int64_t budget_left(struct budget *budget, const struct keys_account *account, int64_t wall_s);

/* ---- what people are to be told: once a window, whichever worker comes to it ---- */

/* A notice that nobody has said yet; false: there is none.  is_to_send: it stays, for
 * budget_take_notice. */
bool budget_hear_notice(struct budget *budget, bool is_to_send, struct budget_notice *notice);
/* One to send; it is this worker's until it is dropped, or returned, as when a worker has died.
 * -1: there is none. */
int budget_take_notice(struct budget *budget, int worker, struct budget_notice *notice);
void budget_drop_notice(struct budget *budget, int at);
void budget_return_notices(struct budget *budget, int worker);
/* How many found no room since it was asked. */
uint64_t budget_lost_notices(struct budget *budget);

/* ---- the clerk's ---- */

/* Begins to settle what a dead worker left: closing a slot in its place counts as its own. */
bool budget_applied(struct budget *budget, int seat, uint64_t op);
void budget_stand(struct budget *budget, int seat); /* the seat is free again */

/* The window that runs, and its sum; only when nothing was spent since total was read: else
 * false. */
bool budget_set(struct budget *budget, int32_t number, const struct budget_purse *purse);
/* When the window after this one begins: next_s.  False: another window runs there than the one
 * that window says. */
bool budget_renew(struct budget *budget, int32_t number, const struct budget_purse *window,
                  int64_t wall_s);
/* What a foreign slot has spent and holds, of its key and its team (estate.h); op: the number that
 * budget_next gave for BUDGET_CLERK. */
void budget_add(struct budget *budget, const struct journal_slot *slot, uint64_t op, int64_t spent,
                int64_t reserved);

/* Another budget, or another soft limit: what was told is told again when it comes to that. */
void budget_arm(struct budget *budget, int32_t number);

/* How the clerk fares, for whoever watches. */
struct budget_health {
    int64_t is_failing; /* 1: the ledger cannot be written */
    int64_t waiting;    /* closed slots that it does not have yet */
    int64_t fullest;    /* slots in use of the journal that has the most */
};

void budget_set_health(struct budget *budget, const struct budget_health *health);
struct budget_health budget_get_health(const struct budget *budget);

bool budget_is_loaded(const struct budget *budget);
void budget_loaded(struct budget *budget); /* all keys are in: requests may come */
