/* grant.h -- leave to make one attempt, by one key; and what came of the attempt.
 *
 * It is taken before the attempt is sent and ended in any case; a worker that
 * dies has its grants ended by limits_forget.  It knows nothing of why an
 * attempt failed beyond a short word. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "limit.h"

struct grant {                        /* a plain value; all zero: none */
    struct lane *lanes[LIMITS_LANES]; /* they stay while it is open; NULL: no room for one */
    bool probes[LIMITS_LANES];
    int key; /* 1 is the first */
    int64_t tokens, at_us;
    bool is_open, is_heard;
};

enum grant_scope { GRANT_OF_TARGET, GRANT_OF_KEY, GRANT_OF_KEY_AND_MODEL };

struct grant_failure { /* that cools */
    enum grant_scope scope;
    const char *reason;
    const char *dimension; /* of the limit that was spent; NULL: not known */
    int64_t wait_us;
    bool is_said; /* the provider named the time; else it is our default */
};

/* Takes what an attempt that needs so many tokens needs, by the key that has the most left.
 * insists: a cooldown does not count.  False: wait says why not. */
bool grant_take(struct limits *limits, const struct limits_target *target, int64_t tokens,
                bool insists, int64_t now_us, struct grant *grant, struct limits_wait *wait);

/* The provider answered, well or not, and said that of its quotas. */
void grant_hear(struct limits *limits, struct grant *grant, const struct quota_word *words,
                size_t count, int64_t now_us);

/* It reached its commit point after so long. */
void grant_succeed(struct limits *limits, struct grant *grant, int64_t latency_us, int64_t now_us);

/* It failed in a way that cools; gives how long the target is closed to this key from now on.  A
 * cooldown is extended, never shortened, and a day at most. */
int64_t grant_fail(struct limits *limits, struct grant *grant, const struct grant_failure *failure,
                   int64_t now_us);

/* It stalled or was cut: many in a row cool the target, longer each time.  Gives for how long. */
int64_t grant_stumble(struct limits *limits, struct grant *grant, const char *reason,
                      int64_t now_us);

/* It is over.  tokens: what it really used, -1: not known; was_sent: else it used nothing.
 * Ending twice is ending once. */
void grant_end(struct limits *limits, struct grant *grant, int64_t tokens, bool was_sent,
               int64_t now_us);
