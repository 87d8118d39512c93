/* quota.c -- told limits and counted windows.
 *
 *   a window of 60 s, slots of 1 s:    | 3 | 0 | 7 | ... | 2 |
 *                                        ^ leaves first    ^ the running one
 *
 * What was counted leaves a whole slot late at most: a sixtieth of the period. */
/* SPDX-License-Identifier: MIT */
#include "quota.h"

static const int64_t SECOND_US = 1000000, DAY_US = 86400 * (int64_t)1000000;

static const struct {
    const char *name;
    int64_t seconds;
    bool of_tokens;
} dimensions[QUOTA_COUNT] = {
    [QUOTA_RPS] = {"rps", 1, false},
    [QUOTA_RPM] = {"rpm", 60, false},
    [QUOTA_RPH] = {"rph", 3600, false},
    [QUOTA_RPD] = {"rpd", 86400, false},
    [QUOTA_RPMONTH] = {"rpmonth", 30 * 86400, false},
    [QUOTA_TPM] = {"tpm", 60, true},
    [QUOTA_TPH] = {"tph", 3600, true},
    [QUOTA_TPD] = {"tpd", 86400, true},
    [QUOTA_TPMONTH] = {"tpmonth", 30 * 86400, true},
    [QUOTA_ITPM] = {"itpm", 60, true},
    [QUOTA_OTPM] = {"otpm", 60, true},
};

static int64_t get(const _Atomic int64_t *number)
{
    return atomic_load_explicit(number, memory_order_relaxed);
}

static void set(_Atomic int64_t *number, int64_t value)
{
    atomic_store_explicit(number, value, memory_order_relaxed);
}

/* ---- dimensions ---- */

enum quota_dimension quota_named(struct slice name)
{
    for (int i = 0; i < QUOTA_COUNT; i++)
        if (slice_is(name, dimensions[i].name))
            return (enum quota_dimension)i;
    return QUOTA_COUNT;
}

const char *quota_name(enum quota_dimension dimension)
{
    return dimensions[dimension].name;
}

bool quota_is_of_tokens(enum quota_dimension dimension)
{
    return dimensions[dimension].of_tokens;
}

int64_t quota_period_us(enum quota_dimension dimension)
{
    return dimensions[dimension].seconds * SECOND_US;
}

/* ---- what a provider said ---- */

void quota_clear(struct quota *quota)
{
    set(&quota->limit, -1);
    set(&quota->left, -1);
    set(&quota->reset_us, 0);
    set(&quota->gain_us, 0);
    set(&quota->by_us, 0);
}

/* Where one more comes back after a period's share of it, the limit refills steadily.  Taken for
 * that by mistake (a minute's last second), it grows too slowly until the next answer. */
static int64_t gain_of(const struct quota_word *word)
{
    int64_t period_us = quota_period_us(word->dimension);

    if (word->left != 0 || word->limit <= 0 || word->wait_us <= 0)
        return 0;
    return word->wait_us <= period_us / word->limit * 3 / 2 ? word->wait_us : 0;
}

/* Nobody said when: no longer than its period, nor than a day. */
static int64_t longest_us(enum quota_dimension dimension)
{
    int64_t period_us = quota_period_us(dimension);
    return period_us < DAY_US ? period_us : DAY_US;
}

void quota_tell(struct quota *quota, const struct quota_word *word, int64_t by_us, int64_t now_us)
{
    int64_t known = quota_left(quota, now_us);
    bool is_older = by_us < get(&quota->by_us);

    if (word->limit >= 0)
        set(&quota->limit, word->limit);
    if (word->left < 0 || (is_older && known >= 0 && word->left >= known))
        return;
    int64_t wait_us = word->wait_us >= 0 ? word->wait_us : longest_us(word->dimension);
    set(&quota->left, word->left);
    set(&quota->reset_us, now_us + wait_us);
    set(&quota->gain_us, gain_of(word));
    /* Requests are counted exactly, so of those that ran at once the least is right, whichever the
     * provider saw first; tokens are guessed, and the newer word corrects the guess. */
    if (!is_older)
        set(&quota->by_us, quota_is_of_tokens(word->dimension) ? by_us : now_us);
}

void quota_use(struct quota *quota, enum quota_dimension dimension, int64_t amount, int64_t now_us)
{
    int64_t left = quota_left(quota, now_us), gain_us = get(&quota->gain_us);

    if (left < 0)
        return;
    if (get(&quota->reset_us) <= now_us)
        set(&quota->reset_us, now_us + (gain_us ? gain_us : longest_us(dimension)));
    set(&quota->left, left > amount ? left - amount : 0);
}

int64_t quota_left(const struct quota *quota, int64_t now_us)
{
    int64_t left = get(&quota->left), limit = get(&quota->limit), reset_us = get(&quota->reset_us);
    int64_t gain_us = get(&quota->gain_us);

    if (left < 0 || now_us < reset_us)
        return left;
    if (gain_us)
        left += 1 + (now_us - reset_us) / gain_us;
    return gain_us && left < limit ? left : limit;
}

/* ---- what we count ---- */

/* What was counted before the system started has negative times. */
static const int64_t BEFORE_US = 400 * 86400 * (int64_t)1000000;

static int64_t slot_us_of(int64_t period_us)
{
    return period_us / (WINDOW_SLOTS - 1);
}

static int64_t slot_of(int64_t period_us, int64_t at_us)
{
    return (at_us + BEFORE_US) / slot_us_of(period_us);
}

void window_clear(struct window *window)
{
    set(&window->limit, 0);
    set(&window->used, 0);
    window->slot = 0;
    memset(window->slots, 0, sizeof window->slots);
}

void window_turn(struct window *window, int64_t period_us, int64_t now_us)
{
    int64_t slot = slot_of(period_us, now_us), steps = slot - window->slot;

    for (int64_t i = 1; i <= steps && i <= WINDOW_SLOTS; i++) {
        int32_t *oldest = &window->slots[(window->slot + i) % WINDOW_SLOTS];
        set(&window->used, get(&window->used) - *oldest);
        *oldest = 0;
    }
    if (steps > 0)
        window->slot = slot;
}

void window_add(struct window *window, int64_t period_us, int64_t at_us, int64_t amount)
{
    int64_t slot = slot_of(period_us, at_us);

    if (slot > window->slot || slot <= window->slot - WINDOW_SLOTS || slot < 0)
        return;
    int32_t *counted = &window->slots[slot % WINDOW_SLOTS];
    if (amount < -(int64_t)*counted)
        amount = -(int64_t)*counted;
    if (amount > INT32_MAX - *counted)
        amount = INT32_MAX - *counted;
    *counted += (int32_t)amount;
    set(&window->used, get(&window->used) + amount);
}

int64_t window_free_us(const struct window *window, int64_t period_us, int64_t limit,
                       int64_t amount)
{
    int64_t used = get(&window->used), slot = window->slot - WINDOW_SLOTS;

    if (used + amount <= limit)
        return 0;
    while (slot < window->slot && used + amount > limit)
        used -= window->slots[(++slot) % WINDOW_SLOTS];
    return (slot + WINDOW_SLOTS) * slot_us_of(period_us) - BEFORE_US;
}

void window_mend(struct window *window)
{
    int64_t sum = 0;

    for (int i = 0; i < WINDOW_SLOTS; i++)
        sum += window->slots[i];
    set(&window->used, sum);
}
