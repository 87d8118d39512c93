/* budget_own.h -- what the files of the budgets share: budget.c has purses and their changes,
 * budget_notice.c what is to be told of them.  Nobody else includes it. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "budget.h"
#include "limits/quota.h"
#include <pthread.h>
#include <stdatomic.h>

enum { BUDGET_RATE_RPM, BUDGET_RATE_TPM, BUDGET_RATES };

struct budget_change { /* of the key's and the team's purse, while the lock is held */
    struct budget *budget;
    int count;
    struct keys_account account[2]; /* all zero but the number: what it may is not known now */
    bool is_known[2];
    struct budget_purse money[2];
    int notice_count;
    struct budget_notice notices[2];
};

struct budget_note { /* of the change that is being made */
    _Atomic int valid;
    int seat, count, notice_count;
    uint64_t op;
    struct {
        int32_t number;
        struct budget_purse money;
    } to[2];
    struct {
        int at;
        struct budget_notice notice;
    } notices[2];
};

enum budget_place_state { PLACE_FREE, PLACE_NEW, PLACE_DUE, PLACE_TAKEN };

struct budget_place {
    enum budget_place_state state;
    int worker; /* that has TAKEN it */
    struct budget_notice notice;
};

struct budget {
    pthread_mutex_t lock;
    struct keys *keys;
    uint64_t run;
    _Atomic int loaded;
    _Atomic int has_notices;                      /* some place may be NEW or DUE */
    _Atomic uint64_t lost;                        /* notices for which there was no place */
    _Atomic int64_t is_failing, waiting, fullest; /* budget_health */
    struct budget_note note;
    struct budget_place places[BUDGET_NOTICES];
    struct seat {
        _Atomic int taken;
        uint64_t given; /* the number of its last change */
        _Atomic uint64_t applied;
    } seats[BUDGET_SEATS + 1]; /* the clerk's last */
    struct purse {
        struct budget_purse money;
        struct window rates[BUDGET_RATES];
    } purses[KEYS_MAX];
};

void budget_lock(struct budget *budget);
void budget_unlock(struct budget *budget);

/* Adds to a change what is to be told of its i-th purse, once a window. */
void budget_tell(struct budget_change *change, int i, enum budget_event event);
/* Under the lock: gives the notices of a change places, which budget_post fills. */
void budget_place(struct budget *budget, const struct budget_change *change);
void budget_post(struct budget *budget);
