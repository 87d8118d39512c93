/* need.h -- what an attempt needs of a lane, and whether the lane has it.
 *
 * It only looks: who goes on to take it holds the lane's lock. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "lane.h"

struct limits_rules { /* what the configuration says of each key; 0: no such limit */
    int64_t windows[WINDOW_COUNT];
    int32_t concurrent;
};

enum limits_block {
    LIMITS_FREE,
    LIMITS_COOLS,  /* until until_us */
    LIMITS_PROBED, /* its cooldown is over, and one attempt is finding out */
    LIMITS_SPENT,  /* a quota, until until_us */
    LIMITS_FULL    /* as many run as may run at once */
};

struct limits_wait { /* why a target may not be tried, and until when */
    enum limits_block block;
    int64_t until_us;
    enum quota_dimension dimension; /* LIMITS_SPENT: which; QUOTA_COUNT else */
    char reason[LANE_REASON];       /* a short stable word, e.g. "rate_limited" */
};

struct need {
    int64_t tokens, now_us;
    const struct limits_rules *rules; /* of a key; NULL: of another kind of lane */
    bool insists;                     /* a cooldown does not count */
};

/* Whether something is in its way; wait then says what, and until when. */
bool need_is_blocked(const struct need *need, const struct lane *lane, struct limits_wait *wait);

/* Forgets what windows hold of times past; under the lock. */
void need_turn(struct lane *lane, int64_t now_us);
