/* need.c -- looks at a lane: its cooldown, its quotas, its windows, what is on its way. */
/* SPDX-License-Identifier: MIT */
#include "need.h"

static const int64_t SECOND_US = 1000000;

#define GET(number) atomic_load_explicit(&(number), memory_order_relaxed)

static const char RATE_LIMITED[LANE_REASON] = "rate_limited";

static bool blocks(struct limits_wait *wait, enum limits_block block, int64_t until_us,
                   const char *reason)
{
    wait->block = block;
    wait->until_us = until_us;
    wait->dimension = QUOTA_COUNT;
    memcpy(wait->reason, reason, LANE_REASON);
    return true;
}

static bool is_cooling(const struct lane *lane, const struct need *need, struct limits_wait *wait)
{
    int64_t until_us = GET(lane->until_us);

    if (until_us == 0 || need->insists)
        return false;
    if (until_us > need->now_us)
        return blocks(wait, LIMITS_COOLS, until_us, lane->reason);
    if (GET(lane->prober))
        return blocks(wait, LIMITS_PROBED, need->now_us + SECOND_US, lane->reason);
    return false;
}

/* Who asks for more than there ever is may try, when nobody else does. */
static int64_t needed(enum quota_dimension dimension, const struct need *need, int64_t limit)
{
    int64_t amount = quota_is_of_tokens(dimension) ? need->tokens : 1;
    return limit > 0 && amount > limit ? limit : amount;
}

static bool is_spent(const struct lane *lane, const struct need *need, struct limits_wait *wait)
{
    for (uint32_t told = GET(lane->told); told; told &= told - 1) {
        enum quota_dimension dimension = (enum quota_dimension)__builtin_ctz(told);
        const struct quota *quota = &lane->quotas[dimension];
        int64_t left = quota_left(quota, need->now_us);
        int64_t sent =
            quota_is_of_tokens(dimension) ? GET(lane->unheard_tokens) : GET(lane->unheard);
        if (left < 0 || left - sent >= needed(dimension, need, GET(quota->limit)))
            continue;
        int64_t reset_us = GET(quota->reset_us);
        blocks(wait, LIMITS_SPENT, reset_us > need->now_us ? reset_us : need->now_us + SECOND_US,
               RATE_LIMITED);
        wait->dimension = dimension;
        return true;
    }
    return false;
}

static bool is_full(const struct lane *lane, const struct need *need, struct limits_wait *wait)
{
    for (int i = 0; need->rules && i < WINDOW_COUNT; i++) {
        int64_t limit = need->rules->windows[i];
        if (!limit)
            continue;
        enum quota_dimension dimension = lane_dimension((enum lane_window)i);
        int64_t free_us = window_free_us(&lane->windows[i], quota_period_us(dimension), limit,
                                         needed(dimension, need, limit));
        if (!free_us)
            continue;
        blocks(wait, LIMITS_SPENT, free_us, RATE_LIMITED);
        wait->dimension = dimension;
        return true;
    }
    if (need->rules && need->rules->concurrent && GET(lane->inflight) >= need->rules->concurrent)
        return blocks(wait, LIMITS_FULL, need->now_us + SECOND_US, RATE_LIMITED);
    return false;
}

void need_turn(struct lane *lane, int64_t now_us)
{
    for (int i = 0; i < WINDOW_COUNT; i++)
        if (GET(lane->windows[i].used))
            window_turn(&lane->windows[i], quota_period_us(lane_dimension((enum lane_window)i)),
                        now_us);
}

bool need_is_blocked(const struct need *need, const struct lane *lane, struct limits_wait *wait)
{
    return is_cooling(lane, need, wait) || is_spent(lane, need, wait) || is_full(lane, need, wait);
}
