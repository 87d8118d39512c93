/* limits.h -- which targets are cooling, known to all workers at once.
 *
 * A table in memory that the master maps before it forks and every worker
 * shares.  Each target has a slot found by its name's hash; the slot holds the
 * time at which its cooldown ends.  Slots are changed by atomic operations
 * only, so a worker killed at any instant leaves nothing locked.  It knows
 * nothing of why a target cools beyond a short word for people. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "slice.h"
#include <stdint.h>

struct limits;

enum { LIMITS_SLOTS = 4096, LIMITS_REASON = 24 };

/* The table; in memory that children of this process share.  Aborts when there is none. */
struct limits *limits_new(void);
void limits_free(struct limits *limits);

/* Cools what key names (a target, "provider/model", or a provider's key, "provider") until
 * until_us (monotonic).  A later time extends; an earlier one changes nothing.  reason is a
 * short stable word, e.g. "rate_limited". */
void limits_cool(struct limits *limits, struct slice key, int64_t until_us, const char *reason);
void limits_uncool(struct limits *limits, struct slice key);

/* When the cooldown ends (monotonic, 0: is not cooling), and the reason (borrowed; may be NULL). */
int64_t limits_cooling_until(const struct limits *limits, struct slice key, int64_t now_us,
                             const char **reason);
