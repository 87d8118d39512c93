/* limit.c -- which lanes a try needs, and whether all of them are free.
 * Reading takes no lock; see lane.h. */
/* SPDX-License-Identifier: MIT */
#include "limit.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "leaves/shared.h"
#include "metrics/metrics.h"
#include <stdio.h>

struct limits {
    struct lanes *lanes;
    struct shared *shared;
    int worker;
    struct metrics *metrics;
};

struct limits *limits_new(void)
{
    struct limits *limits = mem_new(sizeof *limits);

    limits->lanes = lanes_new();
    limits->shared = shared_new();
    limits->metrics = metrics_new();
    return limits;
}

struct limits *limits_copy(const struct limits *from)
{
    struct limits *limits = limits_new();

    lanes_copy(limits->lanes, from->lanes);
    shared_copy(limits->shared, from->shared);
    return limits;
}

void limits_free(struct limits *limits)
{
    if (!limits)
        return;
    shared_free(limits->shared);
    metrics_free(limits->metrics);
    lanes_free(limits->lanes);
    mem_free(limits);
}

struct lanes *limits_lanes(const struct limits *limits)
{
    return limits->lanes;
}

struct shared *limits_shared(const struct limits *limits)
{
    return limits->shared;
}

struct metrics *limits_metrics(const struct limits *limits)
{
    return limits->metrics;
}

#define GET(number)     atomic_load_explicit(&(number), memory_order_relaxed)
#define SET(number, to) atomic_store_explicit(&(number), (to), memory_order_relaxed)
#define ADD(number, by) SET(number, GET(number) + (by))

/* ---- workers ---- */

void limits_enter(struct limits *limits, int worker)
{
    limits->worker = worker % LANE_WORKERS;
}

struct forget {
    int worker;
    int64_t now_us;
};

/* What it had sent without an answer, the provider may have counted. */
void limits_charge(struct lane *lane, int64_t requests, int64_t tokens, uint32_t but,
                   int64_t now_us)
{
    for (uint32_t told = GET(lane->told) & ~but; told; told &= told - 1) {
        enum quota_dimension dimension = (enum quota_dimension)__builtin_ctz(told);
        quota_use(&lane->quotas[dimension], dimension,
                  quota_is_of_tokens(dimension) ? tokens : requests, now_us);
    }
}

static void forget_lane(void *arg, struct lane *lane)
{
    const struct forget *forget = arg;
    struct lane_load *load = &lane->loads[forget->worker];

    if (load->unheard)
        limits_charge(lane, load->unheard, load->unheard_tokens, 0, forget->now_us);
    ADD(lane->inflight, -load->inflight);
    ADD(lane->unheard, -load->unheard);
    ADD(lane->unheard_tokens, -load->unheard_tokens);
    *load = (struct lane_load){0};
    if (GET(lane->prober) == forget->worker + 1)
        SET(lane->prober, 0);
}

void limits_forget(struct limits *limits, int worker)
{
    struct forget forget = {worker % LANE_WORKERS, loop_now_us()};
    lanes_each(limits->lanes, forget_lane, &forget);
}

/* ---- targets ---- */

static const struct limits_rules no_rules;

struct limits_target limits_target(struct slice provider, struct slice model, int keys,
                                   const struct limits_rules *rules)
{
    return (struct limits_target){
        .provider = provider,
        .model = model,
        .keys = keys < 1             ? 1
                : keys > LIMITS_KEYS ? LIMITS_KEYS
                                     : keys,
        .rules = rules ? rules : &no_rules,
        .provider_hash = slice_hash(provider),
        .model_hash = model.len ? slice_hash(model) : 0,
    };
}

static uint64_t hash_of(const struct limits_target *target, int kind, int key)
{
    return lane_hash(target->provider_hash, kind == LIMITS_TARGET ? 0 : key,
                     kind == LIMITS_KEY ? 0 : target->model_hash);
}

struct lane *limits_find(const struct limits *limits, const struct limits_target *target,
                         enum limits_kind kind, int key)
{
    return lanes_find(limits->lanes, hash_of(target, kind, key));
}

struct lane *limits_lock(struct limits *limits, const struct limits_target *target,
                         enum limits_kind kind, int key, int64_t now_us)
{
    static const struct slice nothing = {NULL, 0};
    return lanes_lock(limits->lanes, hash_of(target, kind, key), target->provider,
                      kind == LIMITS_TARGET ? 0 : key, kind == LIMITS_KEY ? nothing : target->model,
                      now_us);
}

int limits_worker(const struct limits *limits)
{
    return limits->worker;
}

/* ---- whether it is free ---- */

/* Without a lock, unless a window that nobody turned seems full. */
static bool is_free(struct limits *limits, const struct limits_target *target, int kind, int key,
                    const struct need *need, struct limits_wait *wait)
{
    struct need own = *need;
    struct lane *lane = limits_find(limits, target, kind, key);

    if (!lane)
        return true;
    own.rules = kind == LIMITS_KEY ? target->rules : NULL;
    if (!need_is_blocked(&own, lane, wait))
        return true;
    if (wait->block != LIMITS_SPENT || !own.rules)
        return false;
    lane = limits_lock(limits, target, kind, key, need->now_us);
    if (!lane)
        return true;
    need_turn(lane, need->now_us);
    bool free = !need_is_blocked(&own, lane, wait);
    lanes_unlock(limits->lanes, lane);
    return free;
}

bool limits_check_key(struct limits *limits, const struct limits_target *target, int key,
                      const struct need *need, struct limits_wait *wait)
{
    struct limits_wait other = {0};
    bool key_is = is_free(limits, target, LIMITS_KEY, key, need, wait);
    bool both_is = is_free(limits, target, LIMITS_BOTH, key, need, key_is ? wait : &other);

    if (!key_is && !both_is && other.until_us > wait->until_us)
        *wait = other;
    return key_is && both_is;
}

bool limits_check(struct limits *limits, const struct limits_target *target, int64_t tokens,
                  int64_t now_us, struct limits_wait *wait)
{
    struct need need = {.tokens = tokens, .now_us = now_us};
    struct limits_wait soonest = {.until_us = INT64_MAX}, found, own = {0};
    bool target_is = is_free(limits, target, LIMITS_TARGET, 0, &need, &own), any_is = false;

    for (int key = 1; key <= target->keys && !any_is; key++) {
        any_is = limits_check_key(limits, target, key, &need, &found);
        if (!any_is && found.until_us < soonest.until_us)
            soonest = found;
    }
    if (target_is && any_is)
        return true;
    if (wait)
        *wait = any_is || (!target_is && own.until_us > soonest.until_us) ? own : soonest;
    return false;
}

/* ---- by hand ---- */

void limits_close(struct limits *limits, struct lane *lane, int64_t until_us, const char *reason,
                  const char *dimension, bool probes)
{
    if (until_us <= GET(lane->until_us))
        return;
    SET(lane->until_us, until_us);
    SET(lane->probes, probes);
    snprintf(lane->reason, sizeof lane->reason, "%s", reason ? reason : "");
    snprintf(lane->dimension, sizeof lane->dimension, "%s", dimension ? dimension : "");
    lanes_note_change(limits->lanes);
}

void limits_cool(struct limits *limits, const struct limits_target *target, int64_t until_us,
                 const char *reason, int64_t now_us)
{
    int kind = target->model.len ? LIMITS_TARGET : LIMITS_KEY;

    for (int key = 1; key <= (kind == LIMITS_KEY ? target->keys : 1); key++) {
        struct lane *lane = limits_lock(limits, target, kind, key, now_us);
        if (!lane)
            continue;
        limits_close(limits, lane, until_us, reason, NULL, false);
        lanes_unlock(limits->lanes, lane);
    }
}

static void open_lane(struct limits *limits, struct lane *lane)
{
    if (!lane)
        return;
    lanes_relock(limits->lanes, lane);
    SET(lane->until_us, 0);
    SET(lane->faults, 0);
    lanes_note_change(limits->lanes);
    lanes_unlock(limits->lanes, lane);
}

void limits_uncool(struct limits *limits, const struct limits_target *target)
{
    open_lane(limits, limits_find(limits, target, LIMITS_TARGET, 0));
    for (int key = 1; key <= target->keys; key++)
        open_lane(limits, limits_find(limits, target, LIMITS_BOTH, key));
}

/* ---- what is known ---- */

int limits_inflight(const struct limits *limits, const struct limits_target *target)
{
    const struct lane *lane = limits_find(limits, target, LIMITS_TARGET, 0);
    return lane ? GET(lane->inflight) : 0;
}

int64_t limits_latency_us(const struct limits *limits, const struct limits_target *target)
{
    const struct lane *lane = limits_find(limits, target, LIMITS_TARGET, 0);
    return lane ? GET(lane->latency_us) : 0;
}

int64_t limits_tokens(const struct limits *limits, const struct limits_target *target)
{
    const struct lane *lane = limits_find(limits, target, LIMITS_TARGET, 0);
    return lane ? GET(lane->tokens) : 0;
}

/* What is told and what is counted, whichever is less. */
static bool quota_of(const struct lane *lane, enum quota_dimension dimension, int64_t now_us,
                     struct limits_quota *quota)
{
    bool is_told = GET(lane->told) >> dimension & 1;
    int64_t left = is_told ? quota_left(&lane->quotas[dimension], now_us) : -1;

    *quota = (struct limits_quota){-1, -1, 0};
    if (left >= 0) {
        quota->limit = GET(lane->quotas[dimension].limit);
        quota->left = left;
        quota->reset_us = GET(lane->quotas[dimension].reset_us);
    }
    for (int i = 0; i < WINDOW_COUNT; i++) {
        const struct window *window = &lane->windows[i];
        int64_t limit = lane_dimension((enum lane_window)i) == dimension ? GET(window->limit) : 0;
        int64_t rest = limit > GET(window->used) ? limit - GET(window->used) : 0;
        if (limit == 0 || (quota->left >= 0 && quota->left <= rest))
            continue;
        quota->limit = limit;
        quota->left = rest;
        quota->reset_us = window_free_us(window, quota_period_us(dimension), limit, rest + 1);
    }
    return quota->left >= 0;
}

/* Of one key: its own, or the model's by it. */
static bool key_quota(struct limits *limits, const struct limits_target *target, int key,
                      enum quota_dimension dimension, int64_t now_us, struct limits_quota *quota)
{
    static const int kinds[] = {LIMITS_KEY, LIMITS_BOTH};
    bool any = false;

    for (int i = 0; i < 2; i++) {
        struct limits_quota found;
        struct lane *lane = limits_find(limits, target, kinds[i], key);
        if (!lane)
            continue;
        lanes_relock(limits->lanes, lane);
        need_turn(lane, now_us);
        bool is = quota_of(lane, dimension, now_us, &found);
        lanes_unlock(limits->lanes, lane);
        if (is && (!any || found.left < quota->left))
            *quota = found;
        any = any || is;
    }
    return any;
}

bool limits_quota(struct limits *limits, const struct limits_target *target,
                  enum quota_dimension dimension, int64_t now_us, struct limits_quota *quota)
{
    bool any = false;

    *quota = (struct limits_quota){0, 0, 0};
    for (int key = 1; key <= target->keys; key++) {
        struct limits_quota found;
        if (!key_quota(limits, target, key, dimension, now_us, &found))
            continue;
        quota->limit = quota->limit < 0 || found.limit < 0 ? -1 : quota->limit + found.limit;
        quota->left += found.left;
        if (found.reset_us > now_us && (!quota->reset_us || found.reset_us < quota->reset_us))
            quota->reset_us = found.reset_us;
        any = true;
    }
    return any;
}
