/* grant.c -- from attempts and their outcomes to lanes.
 *
 * A cooldown closes a lane:
 *
 *   OPEN ---- failed ----> COOLING -- time --> HALF OPEN -- one attempt takes the probe
 *    ^                        ^                    |   ^
 *    |                        +---- it fails ------+   +-- it ends without a word: the probe
 *    +------------------------- it succeeds -------+       is given back
 *
 * Lanes of a grant are locked one after the other, never two at once: whoever dies in between
 * leaves counts of its own alone, which limits_forget takes back. */
/* SPDX-License-Identifier: MIT */
#include "grant.h"
#include <stdio.h>

static const int64_t LONGEST_US = 86400 * (int64_t)1000000; /* of a cooldown: then it is tried */
static const int64_t STUMBLE_US = 5 * 1000000;              /* the first after stalls and cuts */
static const int64_t STUMBLE_MAX_US = 300 * 1000000;

enum { STUMBLES = 3 }; /* stalls and cuts in a row that cool: one or two happen to anybody */

#define GET(number)     atomic_load_explicit(&(number), memory_order_relaxed)
#define SET(number, to) atomic_store_explicit(&(number), (to), memory_order_relaxed)
#define ADD(number, by) SET(number, GET(number) + (by))

/* ---- taking ---- */

/* Of a thousand, how much the tightest quota of a lane has left. */
static int64_t share_left(const struct lane *lane, const struct limits_rules *rules, int64_t now_us)
{
    uint32_t told = GET(lane->told);
    int64_t share = 1000;

    for (int i = 0; told; i++, told >>= 1) {
        int64_t limit = GET(lane->quotas[i].limit), left = quota_left(&lane->quotas[i], now_us);
        if ((told & 1) && limit > 0 && left >= 0 && left * 1000 / limit < share)
            share = left * 1000 / limit;
    }
    for (int i = 0; rules && i < WINDOW_COUNT; i++) {
        int64_t limit = rules->windows[i], used = GET(lane->windows[i].used);
        if (limit > 0 && (limit - used) * 1000 / limit < share)
            share = (limit - used) * 1000 / limit;
    }
    return share;
}

struct score {
    int64_t share, taken;
    int32_t inflight;
};

static struct score score_of(const struct limits *limits, const struct limits_target *target,
                             int key, int64_t now_us)
{
    const struct lane *own = limits_find(limits, target, LIMITS_KEY, key);
    const struct lane *both = limits_find(limits, target, LIMITS_BOTH, key);
    struct score score = {.share = 1000};

    if (own) {
        score.share = share_left(own, target->rules, now_us);
        score.taken = GET(own->taken);
        score.inflight = GET(own->inflight);
    }
    int64_t share = both ? share_left(both, NULL, now_us) : 1000;
    if (share < score.share)
        score.share = share;
    return score;
}

static bool is_better(struct score one, struct score other)
{
    if (one.share != other.share)
        return one.share > other.share;
    if (one.inflight != other.inflight)
        return one.inflight < other.inflight;
    return one.taken < other.taken;
}

/* The free key that is used least, of those not refused yet; 0: none. */
static int choose_key(struct limits *limits, const struct limits_target *target,
                      const struct need *need, uint64_t refused, struct limits_wait *wait)
{
    struct limits_wait found = {0};
    struct score best = {0};
    int chosen = 0;

    for (int key = 1; key <= target->keys; key++) {
        if (refused >> (key - 1) & 1)
            continue;
        if (!limits_check_key(limits, target, key, need, &found)) {
            if (found.until_us < wait->until_us)
                *wait = found;
            continue;
        }
        struct score score = score_of(limits, target, key, need->now_us);
        if (!chosen || is_better(score, best)) {
            chosen = key;
            best = score;
        }
    }
    return chosen;
}

static void count(struct limits *limits, struct lane *lane, const struct need *need)
{
    struct lane_load *load = &lane->loads[limits_worker(limits)];

    load->inflight++;
    load->unheard++;
    load->unheard_tokens += need->tokens;
    ADD(lane->inflight, 1);
    ADD(lane->unheard, 1);
    ADD(lane->unheard_tokens, need->tokens);
    ADD(lane->taken, 1);
    for (int i = 0; need->rules && i < WINDOW_COUNT; i++) {
        enum quota_dimension dimension = lane_dimension((enum lane_window)i);
        struct window *window = &lane->windows[i];
        SET(window->limit, need->rules->windows[i]);
        if (!need->rules->windows[i])
            continue;
        window_turn(window, quota_period_us(dimension), need->now_us);
        window_add(window, quota_period_us(dimension), need->now_us,
                   quota_is_of_tokens(dimension) ? need->tokens : 1);
    }
    if (need->rules)
        SET(lane->concurrent, need->rules->concurrent);
}

static bool take_lane(struct limits *limits, const struct limits_target *target, int kind, int key,
                      const struct need *need, struct grant *grant, struct limits_wait *wait)
{
    struct need own = *need;
    struct lane *lane = limits_lock(limits, target, kind, key, need->now_us);

    if (!lane)
        return true; /* no room to count it: it is not for that to refuse it */
    own.rules = kind == LIMITS_KEY ? target->rules : NULL;
    need_turn(lane, need->now_us);
    bool free = !need_is_blocked(&own, lane, wait);
    if (free) {
        count(limits, lane, &own);
        if (GET(lane->until_us) && GET(lane->probes) && !GET(lane->prober)) {
            SET(lane->prober, limits_worker(limits) + 1);
            grant->probes[kind] = true;
        }
        grant->lanes[kind] = lane;
    }
    lanes_unlock(limits_lanes(limits), lane);
    return free;
}

bool grant_take(struct limits *limits, const struct limits_target *target, int64_t tokens,
                bool insists, int64_t now_us, struct grant *grant, struct limits_wait *wait)
{
    struct need need = {.tokens = tokens, .now_us = now_us, .insists = insists};
    uint64_t refused = 0;

    *grant = (struct grant){.tokens = tokens, .at_us = now_us, .is_open = true};
    if (!take_lane(limits, target, LIMITS_TARGET, 0, &need, grant, wait)) {
        grant->is_open = false;
        return false;
    }
    wait->until_us = INT64_MAX;
    while ((grant->key = choose_key(limits, target, &need, refused, wait))) {
        struct limits_wait found = {0};
        if (take_lane(limits, target, LIMITS_KEY, grant->key, &need, grant, &found) &&
            take_lane(limits, target, LIMITS_BOTH, grant->key, &need, grant, &found)) {
            lanes_note_change(limits_lanes(limits));
            return true;
        }
        if (found.until_us < wait->until_us) /* another worker was faster */
            *wait = found;
        refused |= (uint64_t)1 << (grant->key - 1);
        struct grant half = *grant;
        half.lanes[LIMITS_TARGET] = grant->lanes[LIMITS_KEY] = NULL;
        grant->probes[LIMITS_KEY] = false;
        grant_end(limits, &half, 0, false, now_us);
    }
    grant_end(limits, grant, 0, false, now_us);
    return false;
}

/* ---- what came of it ---- */

/* Not on its way any more: it was answered, or is over. */
static void unload(struct limits *limits, struct lane *lane, const struct grant *grant)
{
    struct lane_load *load = &lane->loads[limits_worker(limits)];

    load->unheard--;
    load->unheard_tokens -= grant->tokens;
    ADD(lane->unheard, -1);
    ADD(lane->unheard_tokens, -grant->tokens);
}

/* Whether the word is of this lane, and says what is left. */
static bool tell(struct lane *lane, const struct quota_word *word, int kind, int64_t by_us,
                 int64_t now_us)
{
    if (word->is_of_key != (kind == LIMITS_KEY))
        return false;
    quota_tell(&lane->quotas[word->dimension], word, by_us, now_us);
    SET(lane->told, GET(lane->told) | 1u << word->dimension);
    return word->left >= 0;
}

void grant_hear(struct limits *limits, struct grant *grant, const struct quota_word *words,
                size_t count, int64_t now_us)
{
    if (grant->is_heard || !grant->is_open)
        return;
    grant->is_heard = true;
    for (int kind = 0; kind < LIMITS_LANES; kind++) {
        struct lane *lane = grant->lanes[kind];
        if (!lane)
            continue;
        lanes_relock(limits_lanes(limits), lane);
        unload(limits, lane, grant);
        uint32_t is_told = 0; /* a word has its own request in it */
        for (size_t i = 0; i < count && kind != LIMITS_TARGET; i++)
            if (tell(lane, &words[i], kind, grant->at_us, now_us))
                is_told |= 1u << words[i].dimension;
        limits_charge(lane, 1, grant->tokens, is_told, now_us);
        lanes_unlock(limits_lanes(limits), lane);
    }
    lanes_note_change(limits_lanes(limits));
}

static void give_back_probe(struct grant *grant, int kind)
{
    if (!grant->probes[kind])
        return;
    SET(grant->lanes[kind]->prober, 0);
    grant->probes[kind] = false;
}

void grant_succeed(struct limits *limits, struct grant *grant, int64_t latency_us, int64_t now_us)
{
    for (int kind = 0; kind < LIMITS_LANES; kind++) {
        struct lane *lane = grant->lanes[kind];
        if (!lane)
            continue;
        lanes_relock(limits_lanes(limits), lane);
        if (GET(lane->until_us) && (grant->probes[kind] || GET(lane->until_us) <= now_us)) {
            SET(lane->until_us, 0); /* one that began before the failure says nothing */
            lanes_note_change(limits_lanes(limits));
        }
        give_back_probe(grant, kind);
        SET(lane->faults, 0);
        int64_t old = GET(lane->latency_us);
        SET(lane->latency_us, old ? old + (latency_us - old) / 5 : latency_us);
        lanes_unlock(limits_lanes(limits), lane);
    }
}

/* A tenth more at most, so that what failed together does not come back together.  By the lane's
 * name and how often it was used: a simulated request then waits as long as a served one. */
static int64_t jitter(int64_t wait_us, const struct lane *lane)
{
    struct slice name = {lane->name, (size_t)lane->name_len};
    uint64_t hash = lane_hash(slice_hash(name), lane->key, (uint64_t)GET(lane->taken));

    return wait_us + (int64_t)(hash % 1000) * (wait_us / 10000);
}

/* The longest of its spent quotas: until then every answer would be the same. */
static int64_t spent_until_us(const struct grant *grant, int64_t now_us)
{
    int64_t until_us = 0;

    for (int kind = LIMITS_KEY; kind < LIMITS_LANES; kind++) {
        const struct lane *lane = grant->lanes[kind];
        uint32_t told = lane ? GET(lane->told) : 0;
        for (int i = 0; told; i++, told >>= 1) {
            int64_t reset_us = GET(lane->quotas[i].reset_us);
            bool is_longest = (told & 1) && reset_us > until_us;
            if (is_longest && quota_left(&lane->quotas[i], now_us) == 0)
                until_us = reset_us;
        }
    }
    return until_us;
}

int64_t grant_fail(struct limits *limits, struct grant *grant, const struct grant_failure *failure,
                   int64_t now_us)
{
    static const int kinds[] = {[GRANT_OF_TARGET] = LIMITS_TARGET,
                                [GRANT_OF_KEY] = LIMITS_KEY,
                                [GRANT_OF_KEY_AND_MODEL] = LIMITS_BOTH};
    struct lane *lane = grant->lanes[kinds[failure->scope]];
    int64_t wait_us = failure->wait_us, spent_us = spent_until_us(grant, now_us);

    if (!lane || wait_us <= 0)
        return 0;
    if (!failure->is_said)
        wait_us = jitter(wait_us, lane);
    if (spent_us > now_us && (!failure->is_said || spent_us - now_us > wait_us))
        wait_us = spent_us - now_us;
    if (wait_us > LONGEST_US)
        wait_us = LONGEST_US;
    lanes_relock(limits_lanes(limits), lane);
    limits_close(limits, lane, now_us + wait_us, failure->reason, failure->dimension, true);
    wait_us = GET(lane->until_us) - now_us;
    lanes_unlock(limits_lanes(limits), lane);
    return wait_us;
}

int64_t grant_stumble(struct limits *limits, struct grant *grant, const char *reason,
                      int64_t now_us)
{
    struct lane *lane = grant->lanes[LIMITS_TARGET];
    int64_t wait_us = STUMBLE_US;

    if (!lane)
        return 0;
    lanes_relock(limits_lanes(limits), lane);
    ADD(lane->faults, 1);
    int32_t more = GET(lane->faults) - STUMBLES;
    for (int i = 0; i < more && wait_us < STUMBLE_MAX_US; i++)
        wait_us *= 2;
    if (wait_us > STUMBLE_MAX_US)
        wait_us = STUMBLE_MAX_US;
    if (more >= 0)
        limits_close(limits, lane, now_us + jitter(wait_us, lane), reason, NULL, true);
    lanes_unlock(limits_lanes(limits), lane);
    return more >= 0 ? wait_us : 0;
}

/* What was counted when it began becomes what it was. */
static void settle(struct lane *lane, const struct grant *grant, int64_t tokens, bool was_sent)
{
    for (int i = 0; i < WINDOW_COUNT; i++) {
        enum quota_dimension dimension = lane_dimension((enum lane_window)i);
        int64_t more = quota_is_of_tokens(dimension) ? (was_sent ? tokens : 0) - grant->tokens
                                                     : (was_sent ? 0 : -1);
        if (quota_is_of_tokens(dimension) && was_sent && tokens < 0)
            continue;
        if (GET(lane->windows[i].limit))
            window_add(&lane->windows[i], quota_period_us(dimension), grant->at_us, more);
    }
}

static void end_lane(struct limits *limits, struct grant *grant, int kind, int64_t tokens,
                     bool was_sent, int64_t now_us)
{
    struct lane *lane = grant->lanes[kind];

    lanes_relock(limits_lanes(limits), lane);
    if (!grant->is_heard) {
        unload(limits, lane, grant);
        if (was_sent)
            limits_charge(lane, 1, grant->tokens, 0, now_us);
    }
    lane->loads[limits_worker(limits)].inflight--;
    ADD(lane->inflight, -1);
    give_back_probe(grant, kind);
    if (kind == LIMITS_KEY)
        settle(lane, grant, tokens, was_sent);
    if (tokens > 0 && was_sent) {
        int64_t old = GET(lane->tokens);
        SET(lane->tokens, old ? old + (tokens - old) / 5 : tokens);
    }
    lanes_unlock(limits_lanes(limits), lane);
    grant->lanes[kind] = NULL;
}

void grant_end(struct limits *limits, struct grant *grant, int64_t tokens, bool was_sent,
               int64_t now_us)
{
    if (!grant->is_open)
        return;
    for (int kind = 0; kind < LIMITS_LANES; kind++)
        if (grant->lanes[kind])
            end_lane(limits, grant, kind, tokens, was_sent, now_us);
    grant->is_open = false;
}
