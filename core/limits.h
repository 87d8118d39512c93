/* limits.h -- what all workers know of targets: which cool, how fast they answer, how many
 * attempts run.
 *
 * A table in memory that the master maps before it forks and every worker
 * shares.  Each target has a slot found by its name's hash.  Slots are changed
 * by atomic operations only, so a worker killed at any instant leaves nothing
 * locked; attempts in flight are counted for each worker apart, so that those
 * of a dead one are forgotten when its successor starts.  It knows nothing of
 * why a target cools beyond a short word for people. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "slice.h"
#include <stdint.h>

struct limits;
struct shared;

enum { LIMITS_SLOTS = 4096, LIMITS_REASON = 24, LIMITS_WORKERS = 64 };

/* The table; in memory that children of this process share.  Aborts when there is none. */
struct limits *limits_new(void);
/* A table of its own with what is in that one now, weir.shared included. */
struct limits *limits_copy(const struct limits *from);
void limits_free(struct limits *limits);

/* Cools what key names (a target, "provider/model", or a provider's key, "provider") until
 * until_us (monotonic).  A later time extends; an earlier one changes nothing.  reason is a
 * short stable word, e.g. "rate_limited". */
void limits_cool(struct limits *limits, struct slice key, int64_t until_us, const char *reason);
void limits_uncool(struct limits *limits, struct slice key);

/* When the cooldown ends (monotonic, 0: is not cooling), and the reason (borrowed; may be NULL). */
int64_t limits_cooling_until(const struct limits *limits, struct slice key, int64_t now_us,
                             const char **reason);

/* An attempt begins and ends; worker is the caller's number, below LIMITS_WORKERS. */
void limits_begin(struct limits *limits, struct slice key, int worker);
void limits_end(struct limits *limits, struct slice key, int worker);
int limits_inflight(const struct limits *limits, struct slice key);

/* A worker of that number starts: what another of that number left running is over. */
void limits_forget(struct limits *limits, int worker);

/* How long the commit point took: a moving average, each answer counting for a fifth. */
void limits_answered(struct limits *limits, struct slice key, int64_t us);
int64_t limits_latency_us(const struct limits *limits, struct slice key); /* 0: unknown */

/* The dictionary of weir.shared, in memory of the same kind; borrowed. */
struct shared *limits_shared(const struct limits *limits);
