/* budget.c -- purses under one lock, and a note of the change that is being made.
 *
 *   lock -> reckon (in copies) -> note { op, new values } -> values -> seat.applied = op -> unlock
 *                                   ^ from here on it is made: whoever locks after a death
 *                                     writes the noted values once more
 *
 * One lock for all: it is held for a tenth of a microsecond.  The windows of requests and tokens
 * a minute are not noted: a death in between leaves one of them off by one request. */
/* SPDX-License-Identifier: MIT */
#include "budget.h"
#include "quota.h"
#include "shm.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/random.h>

enum { RATE_RPM, RATE_TPM, RATES };

static const int64_t MINUTE_US = 60 * 1000000;

struct purse {
    struct budget_purse money;
    struct window rates[RATES];
};

struct note {
    _Atomic int valid;
    int seat, count;
    uint64_t op;
    struct {
        int32_t number;
        struct budget_purse money;
    } to[2];
};

struct seat {
    _Atomic int taken;
    uint64_t given; /* the number of its last change */
    _Atomic uint64_t applied;
};

struct budget {
    pthread_mutex_t lock;
    struct keys *keys;
    uint64_t run;
    _Atomic int loaded;
    struct note note;
    struct seat seats[BUDGET_SEATS + 1]; /* the clerk's last */
    struct purse purses[KEYS_MAX];
};

struct change { /* of the key's and the team's purse, while the lock is held */
    struct budget *budget;
    int count;
    struct keys_account account[2]; /* all zero but the number: what it may is not known now */
    bool is_known[2];
    struct budget_purse money[2];
};

static void lock(struct budget *budget);
static void turn(struct budget_purse *money, int64_t wall_s);

struct budget *budget_new(struct keys *keys)
{
    struct budget *budget = shm_new_sparse(sizeof *budget);

    shm_locks_init(&budget->lock, 1);
    budget->keys = keys;
    if (getrandom(&budget->run, sizeof budget->run, 0) != sizeof budget->run)
        abort();
    return budget;
}

void budget_free(struct budget *budget)
{
    shm_free(budget, sizeof *budget);
}

uint64_t budget_run(const struct budget *budget)
{
    return budget->run;
}

int budget_sit(struct budget *budget)
{
    for (int i = 0; i < BUDGET_SEATS; i++) {
        int free = 0;
        if (atomic_compare_exchange_strong(&budget->seats[i].taken, &free, 1))
            return i;
    }
    return -1;
}

void budget_stand(struct budget *budget, int seat)
{
    atomic_store(&budget->seats[seat].taken, 0);
}

bool budget_is_loaded(const struct budget *budget)
{
    return atomic_load(&budget->loaded) != 0;
}

void budget_loaded(struct budget *budget)
{
    atomic_store(&budget->loaded, 1);
}

/* ---- changes ---- */

static void apply(struct budget *budget)
{
    struct note *note = &budget->note;

    for (int i = 0; i < note->count; i++)
        budget->purses[note->to[i].number].money = note->to[i].money;
    if (note->seat >= 0)
        atomic_store_explicit(&budget->seats[note->seat].applied, note->op, memory_order_release);
    atomic_store_explicit(&note->valid, 0, memory_order_release);
}

static void lock(struct budget *budget)
{
    if (shm_lock(&budget->lock) && atomic_load(&budget->note.valid))
        apply(budget);
}

static void unlock(struct budget *budget)
{
    pthread_mutex_unlock(&budget->lock);
}

static void add_account(struct change *change, int32_t number)
{
    int at = change->count;

    if (number <= 0 || number >= KEYS_MAX)
        return;
    change->is_known[at] = keys_look(change->budget->keys, number, &change->account[at]);
    if (!change->is_known[at])
        change->account[at] = (struct keys_account){.number = number};
    change->count++;
}

/* Whoever was killed in the midst of it has made it, once the lock has been taken after that. */
bool budget_applied(struct budget *budget, int seat, uint64_t op)
{
    lock(budget);
    unlock(budget);
    return op && atomic_load(&budget->seats[seat].applied) >= op;
}

/* Copies of the purses as they stand now, under the lock until commit or unlock. */
static void begin(struct change *change, struct budget *budget, const struct journal_slot *slot,
                  int64_t wall_s)
{
    change->budget = budget;
    change->count = 0;
    add_account(change, slot->account);
    add_account(change, slot->team);
    lock(budget);
    for (int i = 0; i < change->count; i++) {
        change->money[i] = budget->purses[change->account[i].number].money;
        turn(&change->money[i], wall_s);
    }
}

/* A slot's op is written first: whoever finds it later asks whether it was applied. */
static void commit(struct change *change, int seat, uint64_t op)
{
    struct budget *budget = change->budget;
    struct note *note = &budget->note;

    note->seat = seat;
    note->op = op;
    note->count = change->count;
    for (int i = 0; i < change->count; i++) {
        note->to[i].number = change->account[i].number;
        note->to[i].money = change->money[i];
    }
    atomic_store_explicit(&note->valid, 1, memory_order_release);
    apply(budget);
    unlock(budget);
}

uint64_t budget_next(struct budget *budget, int seat)
{
    return ++budget->seats[seat].given;
}

/* New windows have begun.  The clerk tells in time when the one after it will; if it could not,
 * that one is as long as this, until the clerk finds it (budget_renew). */
static void turn(struct budget_purse *money, int64_t wall_s)
{
    while (money->renews_s > money->starts_s && wall_s >= money->renews_s) {
        int64_t length_s = money->renews_s - money->starts_s;
        bool is_told = money->next_s > money->renews_s;
        money->spent = 0;
        money->starts_s = money->renews_s;
        money->renews_s = is_told ? money->next_s : money->renews_s + length_s;
        money->next_s = 0;
    }
}

/* ---- requests ---- */

static int64_t wait_of(struct window *window, int64_t limit, int64_t amount, int64_t now_us)
{
    window_turn(window, MINUTE_US, now_us);
    if (amount > limit) /* it may be all there is */
        amount = limit;
    int64_t free_us = limit ? window_free_us(window, MINUTE_US, limit, amount) : 0;
    return free_us > now_us ? free_us - now_us : 0;
}

static int64_t renewal_us(const struct budget_purse *money, int64_t wall_s)
{
    return money->renews_s ? (money->renews_s - wall_s) * 1000000 : -1;
}

static enum budget_word look(struct change *change, int i, int64_t tokens, int64_t now_us,
                             int64_t wall_s, struct budget_refusal *refusal)
{
    const struct keys_account *account = &change->account[i];
    const struct budget_purse *money = &change->money[i];
    struct window *rates = change->budget->purses[account->number].rates;

    refusal->number = account->number;
    refusal->wait_us = 0;
    if (!change->is_known[i])
        return BUDGET_UNKNOWN;
    refusal->limit = account->budget;
    refusal->spent = money->spent + money->reserved;
    refusal->wait_us = renewal_us(money, wall_s);
    if (account->has_budget && money->spent >= account->budget)
        return BUDGET_SPENT;
    refusal->limit = account->concurrent;
    refusal->wait_us = 1000000;
    if (account->concurrent && money->inflight >= account->concurrent)
        return BUDGET_CONCURRENT;
    refusal->limit = account->rpm;
    refusal->wait_us = wait_of(&rates[RATE_RPM], account->rpm, 1, now_us);
    if (refusal->wait_us)
        return BUDGET_RPM;
    refusal->limit = account->tpm;
    refusal->wait_us = wait_of(&rates[RATE_TPM], account->tpm, tokens, now_us);
    return refusal->wait_us ? BUDGET_TPM : BUDGET_GRANTED;
}

bool budget_enter(struct budget *budget, int seat, struct journal_slot *slot, int64_t tokens,
                  int64_t now_us, int64_t wall_s, struct budget_refusal *refusal)
{
    struct change change;

    slot->tokens_at_us = now_us;
    slot->tokens_held = tokens;
    slot->op = budget_next(budget, seat);
    begin(&change, budget, slot, wall_s);
    for (int i = 0; i < change.count; i++) {
        refusal->word = look(&change, i, tokens, now_us, wall_s, refusal);
        if (refusal->word == BUDGET_GRANTED)
            continue;
        unlock(budget);
        return false;
    }
    for (int i = 0; i < change.count; i++) {
        struct window *rates = budget->purses[change.account[i].number].rates;
        window_add(&rates[RATE_RPM], MINUTE_US, now_us, 1);
        window_add(&rates[RATE_TPM], MINUTE_US, now_us, tokens);
        change.money[i].inflight++;
    }
    commit(&change, seat, slot->op);
    return true;
}

void budget_leave(struct budget *budget, int seat, struct journal_slot *slot, int64_t tokens,
                  int64_t now_us)
{
    struct change change;

    begin(&change, budget, slot, 0);
    for (int i = 0; i < change.count; i++) {
        struct window *rates = budget->purses[change.account[i].number].rates;
        window_turn(&rates[RATE_TPM], MINUTE_US, now_us);
        window_add(&rates[RATE_TPM], MINUTE_US, slot->tokens_at_us, tokens - slot->tokens_held);
        change.money[i].inflight--;
    }
    commit(&change, seat, slot->op);
}

/* ---- attempts ---- */

static bool fits(const struct change *change, int i, int64_t needed, int64_t wall_s,
                 struct budget_refusal *refusal)
{
    const struct keys_account *account = &change->account[i];
    const struct budget_purse *money = &change->money[i];
    int64_t taken = money->spent + money->reserved;

    *refusal =
        (struct budget_refusal){BUDGET_UNKNOWN, account->number, account->budget, taken, needed, 0};
    if (!change->is_known[i])
        return false;
    refusal->word = BUDGET_SPENT;
    refusal->wait_us = renewal_us(money, wall_s);
    return !account->has_budget || taken + needed <= account->budget;
}

bool budget_reserve(struct budget *budget, int seat, struct journal_slot *slot, int64_t wall_s,
                    struct budget_refusal *refusal)
{
    struct change change;

    slot->op = budget_next(budget, seat);
    begin(&change, budget, slot, wall_s);
    for (int i = 0; i < change.count; i++) {
        if (!fits(&change, i, slot->reserved, wall_s, refusal)) {
            unlock(budget);
            return false;
        }
        change.money[i].reserved += slot->reserved;
    }
    commit(&change, seat, slot->op);
    return true;
}

static bool warns(const struct keys_account *account, int64_t before, int64_t after)
{
    return account->has_budget && before < account->warns_at && after >= account->warns_at;
}

/* One that ended before the window began, though it comes after, is of the one before: so is its
 * row in the ledger. */
static void spend(struct budget_purse *money, int64_t cost, int64_t ended_s)
{
    money->total += cost;
    if (ended_s >= money->starts_s)
        money->spent += cost;
}

int32_t budget_settle(struct budget *budget, int seat, struct journal_slot *slot, int64_t wall_s)
{
    struct change change;
    int32_t warned = 0;

    begin(&change, budget, slot, wall_s);
    for (int i = 0; i < change.count; i++) {
        int64_t before = change.money[i].spent;
        change.money[i].reserved -= slot->reserved;
        spend(&change.money[i], slot->cost, wall_s);
        if (warns(&change.account[i], before, change.money[i].spent))
            warned = change.account[i].number;
    }
    commit(&change, seat, slot->op);
    return warned;
}

/* ---- looking ---- */

struct budget_purse budget_look(struct budget *budget, int32_t number, int64_t wall_s)
{
    lock(budget);
    struct budget_purse money = budget->purses[number].money;
    unlock(budget);
    turn(&money, wall_s);
    return money;
}

int64_t budget_left(struct budget *budget, const struct keys_account *account, int64_t wall_s)
{
    struct keys_account team;
    const struct keys_account *both[2] = {account, &team};
    int count = account->team && keys_look(budget->keys, account->team, &team) ? 2 : 1;
    int64_t least = -1;

    for (int i = 0; i < count; i++) {
        if (!both[i]->has_budget)
            continue;
        struct budget_purse money = budget_look(budget, both[i]->number, wall_s);
        int64_t left = both[i]->budget - money.spent - money.reserved;
        left = left > 0 ? left : 0;
        least = least < 0 || left < least ? left : least;
    }
    return least;
}

/* ---- the clerk ---- */

static void change_one(struct change *change, struct budget *budget, int32_t number)
{
    change->budget = budget;
    change->count = 1;
    change->account[0].number = number;
    lock(budget);
    change->money[0] = budget->purses[number].money;
}

bool budget_set(struct budget *budget, int32_t number, const struct budget_purse *purse)
{
    struct change change;

    change_one(&change, budget, number);
    bool is_same = change.money[0].total == purse->total;
    if (is_same) {
        change.money[0].spent = purse->spent;
        change.money[0].starts_s = purse->starts_s;
        change.money[0].renews_s = purse->renews_s;
        change.money[0].next_s = purse->next_s;
    }
    commit(&change, -1, 0);
    return is_same;
}

bool budget_renew(struct budget *budget, int32_t number, const struct budget_purse *window,
                  int64_t wall_s)
{
    struct change change;

    change_one(&change, budget, number);
    turn(&change.money[0], wall_s);
    bool is_it = change.money[0].starts_s == window->starts_s &&
                 change.money[0].renews_s == window->renews_s;
    if (is_it)
        change.money[0].next_s = window->next_s;
    commit(&change, -1, 0);
    return is_it;
}

void budget_add(struct budget *budget, const struct journal_slot *slot, uint64_t op, int64_t spent,
                int64_t reserved)
{
    struct change change;

    begin(&change, budget, slot, slot->ended_us / 1000000);
    for (int i = 0; i < change.count; i++) {
        spend(&change.money[i], spent, slot->ended_us / 1000000);
        change.money[i].reserved += reserved;
    }
    commit(&change, BUDGET_CLERK, op);
}
