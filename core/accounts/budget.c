/* budget.c -- purses under one lock, and a note of the change that is being made.
 *
 *   lock -> reckon (in copies) -> note { op, new values } -> values -> seat.applied = op -> unlock
 *                                   ^ from here on it is made: whoever locks after a death
 *                                     writes the noted values once more
 *
 * One lock for all: it is held for a tenth of a microsecond.  The windows of requests and tokens
 * a minute are not noted: a death in between leaves one of them off by one request. */
/* SPDX-License-Identifier: MIT */
#include "budget_own.h"
#include "leaves/shm.h"
#include <stdlib.h>
#include <sys/random.h>

static const int64_t MINUTE_US = 60 * 1000000;

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

void budget_set_health(struct budget *budget, const struct budget_health *health)
{
    atomic_store(&budget->is_failing, health->is_failing);
    atomic_store(&budget->waiting, health->waiting);
    atomic_store(&budget->fullest, health->fullest);
}

struct budget_health budget_get_health(const struct budget *budget)
{
    return (struct budget_health){.is_failing = atomic_load(&budget->is_failing),
                                  .waiting = atomic_load(&budget->waiting),
                                  .fullest = atomic_load(&budget->fullest)};
}

/* ---- changes ---- */

static void apply(struct budget *budget)
{
    struct budget_note *note = &budget->note;

    for (int i = 0; i < note->count; i++)
        budget->purses[note->to[i].number].money = note->to[i].money;
    budget_post(budget);
    if (note->seat >= 0)
        atomic_store_explicit(&budget->seats[note->seat].applied, note->op, memory_order_release);
    atomic_store_explicit(&note->valid, 0, memory_order_release);
}

void budget_lock(struct budget *budget)
{
    if (shm_lock(&budget->lock) && atomic_load(&budget->note.valid))
        apply(budget);
}

void budget_unlock(struct budget *budget)
{
    pthread_mutex_unlock(&budget->lock);
}

static void add_account(struct budget_change *change, int32_t number)
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
    budget_lock(budget);
    budget_unlock(budget);
    return op && atomic_load(&budget->seats[seat].applied) >= op;
}

/* Copies of the purses as they stand now, under the lock until commit or unlock. */
static void begin(struct budget_change *change, struct budget *budget,
                  const struct journal_slot *slot, int64_t wall_s)
{
    change->budget = budget;
    change->count = change->notice_count = 0;
    add_account(change, slot->account);
    add_account(change, slot->team);
    budget_lock(budget);
    for (int i = 0; i < change->count; i++) {
        change->money[i] = budget->purses[change->account[i].number].money;
        turn(&change->money[i], wall_s);
    }
}

/* A slot's op is written first: whoever finds it later asks whether it was applied. */
static void commit(struct budget_change *change, int seat, uint64_t op)
{
    struct budget *budget = change->budget;
    struct budget_note *note = &budget->note;

    note->seat = seat;
    note->op = op;
    note->count = change->count;
    for (int i = 0; i < change->count; i++) {
        note->to[i].number = change->account[i].number;
        note->to[i].money = change->money[i];
    }
    budget_place(budget, change);
    atomic_store_explicit(&note->valid, 1, memory_order_release);
    apply(budget);
    budget_unlock(budget);
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
        money->spent = money->told = 0;
        money->starts_s = money->renews_s;
        money->renews_s = is_told ? money->next_s : money->renews_s + length_s;
        money->next_s = 0;
    }
}

/* ---- requests ---- */

/* Unlocks; of the change nothing is made but that somebody is told, if the budget is at fault: what
 * would not fit an unspent one is the request's own. */
static void refuse(struct budget_change *change, int i, int64_t wall_s,
                   const struct budget_refusal *refusal)
{
    struct budget *budget = change->budget;
    struct budget_change only = {.budget = budget, .count = 1};

    if (refusal->word != BUDGET_SPENT || refusal->needed > refusal->limit) {
        budget_unlock(budget);
        return;
    }
    only.account[0] = change->account[i];
    only.money[0] = budget->purses[refusal->number].money;
    turn(&only.money[0], wall_s);
    budget_tell(&only, 0, BUDGET_GONE);
    commit(&only, -1, 0);
}

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

static enum budget_word look(struct budget_change *change, int i, int64_t tokens, int64_t now_us,
                             int64_t wall_s, struct budget_refusal *refusal)
{
    const struct keys_account *account = &change->account[i];
    const struct budget_purse *money = &change->money[i];
    struct window *rates = change->budget->purses[account->number].rates;

    refusal->number = account->number;
    refusal->wait_us = refusal->needed = 0;
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
    refusal->wait_us = wait_of(&rates[BUDGET_RATE_RPM], account->rpm, 1, now_us);
    if (refusal->wait_us)
        return BUDGET_RPM;
    refusal->limit = account->tpm;
    refusal->wait_us = wait_of(&rates[BUDGET_RATE_TPM], account->tpm, tokens, now_us);
    return refusal->wait_us ? BUDGET_TPM : BUDGET_GRANTED;
}

/* True: nobody is in the way, and the lock is held; else it is not. */
static bool pass(struct budget_change *change, int64_t tokens, int64_t now_us, int64_t wall_s,
                 struct budget_refusal *refusal)
{
    for (int i = 0; i < change->count; i++) {
        refusal->word = look(change, i, tokens, now_us, wall_s, refusal);
        if (refusal->word == BUDGET_GRANTED)
            continue;
        refuse(change, i, wall_s, refusal);
        return false;
    }
    for (int i = 0; i < change->count; i++) {
        struct window *rates = change->budget->purses[change->account[i].number].rates;
        window_add(&rates[BUDGET_RATE_RPM], MINUTE_US, now_us, 1);
        window_add(&rates[BUDGET_RATE_TPM], MINUTE_US, now_us, tokens);
    }
    return true;
}

bool budget_enter(struct budget *budget, int seat, struct journal_slot *slot, int64_t tokens,
                  int64_t now_us, int64_t wall_s, struct budget_refusal *refusal)
{
    struct budget_change change;

    slot->tokens_at_us = now_us;
    slot->tokens_held = tokens;
    slot->op = budget_next(budget, seat);
    begin(&change, budget, slot, wall_s);
    if (!pass(&change, tokens, now_us, wall_s, refusal))
        return false;
    for (int i = 0; i < change.count; i++)
        change.money[i].inflight++;
    commit(&change, seat, slot->op);
    return true;
}

bool budget_check(struct budget *budget, const struct budget_loose *loose, int64_t tokens,
                  int64_t now_us, int64_t wall_s, struct budget_refusal *refusal)
{
    const struct journal_slot slot = {.account = loose->account, .team = loose->team};
    struct budget_change change;

    begin(&change, budget, &slot, wall_s);
    for (int i = 0; i < change.count; i++)
        change.money[i].inflight += loose->at_once[i];
    if (!pass(&change, tokens, now_us, wall_s, refusal))
        return false;
    budget_unlock(budget);
    return true;
}

void budget_leave(struct budget *budget, int seat, struct journal_slot *slot, int64_t tokens,
                  int64_t now_us)
{
    struct budget_change change;

    begin(&change, budget, slot, 0);
    for (int i = 0; i < change.count; i++) {
        struct window *rates = budget->purses[change.account[i].number].rates;
        window_turn(&rates[BUDGET_RATE_TPM], MINUTE_US, now_us);
        window_add(&rates[BUDGET_RATE_TPM], MINUTE_US, slot->tokens_at_us,
                   tokens - slot->tokens_held);
        change.money[i].inflight--;
    }
    commit(&change, seat, slot->op);
}

/* ---- attempts ---- */

static bool fits(const struct budget_change *change, int i, int64_t needed, int64_t wall_s,
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
    struct budget_change change;

    slot->op = budget_next(budget, seat);
    begin(&change, budget, slot, wall_s);
    for (int i = 0; i < change.count; i++) {
        if (!fits(&change, i, slot->reserved, wall_s, refusal)) {
            refuse(&change, i, wall_s, refusal);
            return false;
        }
        change.money[i].reserved += slot->reserved;
    }
    commit(&change, seat, slot->op);
    return true;
}

/* One that ended before the window began, though it comes after, is of the one before: so is its
 * row in the ledger. */
static void spend(struct budget_purse *money, int64_t cost, int64_t ended_s)
{
    money->total += cost;
    if (ended_s >= money->starts_s)
        money->spent += cost;
}

static bool is_low(const struct keys_account *account, const struct budget_purse *money)
{
    return account->has_budget && account->warns_at < account->budget &&
           money->spent >= account->warns_at;
}

void budget_settle(struct budget *budget, int seat, struct journal_slot *slot, int64_t wall_s)
{
    struct budget_change change;

    begin(&change, budget, slot, wall_s);
    for (int i = 0; i < change.count; i++) {
        change.money[i].reserved -= slot->reserved;
        spend(&change.money[i], slot->cost, wall_s);
        if (is_low(&change.account[i], &change.money[i]))
            budget_tell(&change, i, BUDGET_LOW);
    }
    commit(&change, seat, slot->op);
}

/* ---- looking ---- */

struct budget_purse budget_look(struct budget *budget, int32_t number, int64_t wall_s)
{
    budget_lock(budget);
    struct budget_purse money = budget->purses[number].money;
    budget_unlock(budget);
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

static void change_one(struct budget_change *change, struct budget *budget, int32_t number)
{
    change->budget = budget;
    change->count = 1;
    change->notice_count = 0;
    change->account[0].number = number;
    budget_lock(budget);
    change->money[0] = budget->purses[number].money;
}

bool budget_set(struct budget *budget, int32_t number, const struct budget_purse *purse)
{
    struct budget_change change;
    struct keys_account account;
    bool is_known = keys_look(budget->keys, number, &account);

    change_one(&change, budget, number);
    bool is_same = change.money[0].total == purse->total;
    if (is_same) {
        change.money[0].spent = purse->spent;
        change.money[0].starts_s = purse->starts_s;
        change.money[0].renews_s = purse->renews_s;
        change.money[0].next_s = purse->next_s;
        change.money[0].told = is_known && is_low(&account, &change.money[0]) ? BUDGET_LOW : 0;
    }
    commit(&change, -1, 0);
    return is_same;
}

bool budget_renew(struct budget *budget, int32_t number, const struct budget_purse *window,
                  int64_t wall_s)
{
    struct budget_change change;

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
    struct budget_change change;

    begin(&change, budget, slot, slot->ended_us / 1000000);
    for (int i = 0; i < change.count; i++) {
        spend(&change.money[i], spent, slot->ended_us / 1000000);
        change.money[i].reserved += reserved;
    }
    commit(&change, BUDGET_CLERK, op);
}

void budget_arm(struct budget *budget, int32_t number)
{
    struct budget_change change;

    change_one(&change, budget, number);
    change.money[0].told = 0;
    commit(&change, -1, 0);
}
