/* limit.h -- whether a target may be tried, and by which of its provider's keys.
 *
 * All workers share one truth: cooldowns, quotas, what is in flight, how fast a
 * target answers (lane.h).  What an attempt takes of it is a grant (grant.h).
 *
 * (A limits.h of ours would stand in the way of libc's.) */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "need.h"

struct limits;
struct metrics;
struct shared;

enum { LIMITS_KEYS = 64 }; /* of one provider */

struct limits_target { /* made by limits_target; the rest is borrowed */
    struct slice provider, model;
    int keys; /* at least 1 */
    const struct limits_rules *rules;
    uint64_t provider_hash, model_hash;
};

enum limits_kind { LIMITS_TARGET, LIMITS_KEY, LIMITS_BOTH, LIMITS_LANES }; /* the lanes of a try */

struct limits *limits_new(void); /* in memory that children share */
/* A table of its own with what is in that one now, weir.shared included. */
struct limits *limits_copy(const struct limits *from);
void limits_free(struct limits *limits);

/* This process is that worker from now on. */
void limits_enter(struct limits *limits, int worker);
/* The worker of that number is dead: what it had on its way is over. */
void limits_forget(struct limits *limits, int worker);

struct limits_target limits_target(struct slice provider, struct slice model, int keys,
                                   const struct limits_rules *rules);

/* Whether an attempt that needs so many tokens may be made now, by any key.  Takes no lock while
 * nothing is spent.  wait says why not, and the soonest time; may be NULL. */
bool limits_check(struct limits *limits, const struct limits_target *target, int64_t tokens,
                  int64_t now_us, struct limits_wait *wait);

/* Whether that key is free for that model; wait is the later of its lanes' times. */
bool limits_check_key(struct limits *limits, const struct limits_target *target, int key,
                      const struct need *need, struct limits_wait *wait);

/* A lane of a target: to look at (NULL: nothing is known), and locked, as lanes_lock gives it. */
struct lane *limits_find(const struct limits *limits, const struct limits_target *target,
                         enum limits_kind kind, int key);
struct lane *limits_lock(struct limits *limits, const struct limits_target *target,
                         enum limits_kind kind, int key, int64_t now_us);
int limits_worker(const struct limits *limits);

/* Something was used that no answer tells; under the lane's lock.  but: bits of dimensions of
 * which one does. */
void limits_charge(struct lane *lane, int64_t requests, int64_t tokens, uint32_t but,
                   int64_t now_us);

/* Closes a lane until then, unless it is closed for longer; under its lock.  probes: it is half
 * open afterwards. */
void limits_close(struct limits *limits, struct lane *lane, int64_t until_us, const char *reason,
                  const char *dimension, bool probes);

/* By hand: cools a target by all its keys (a provider, where the model is empty), and opens it
 * again. */
void limits_cool(struct limits *limits, const struct limits_target *target, int64_t until_us,
                 const char *reason, int64_t now_us);
void limits_uncool(struct limits *limits, const struct limits_target *target);

/* What is known of a target; 0: nothing. */
int limits_inflight(const struct limits *limits, const struct limits_target *target);
int64_t limits_latency_us(const struct limits *limits, const struct limits_target *target);
int64_t limits_tokens(const struct limits *limits, const struct limits_target *target);

struct limits_quota { /* of all its keys together */
    int64_t limit;    /* -1: unknown */
    int64_t left;
    int64_t reset_us; /* the soonest; 0: unknown */
};

/* False when nothing is known of that dimension. */
bool limits_quota(struct limits *limits, const struct limits_target *target,
                  enum quota_dimension dimension, int64_t now_us, struct limits_quota *quota);

/* The table; and the dictionary of weir.shared, in memory of the same kind.  Borrowed. */
struct lanes *limits_lanes(const struct limits *limits);
struct shared *limits_shared(const struct limits *limits);
/* The counters of weir.metric, and of the gateway; likewise. */
struct metrics *limits_metrics(const struct limits *limits);
