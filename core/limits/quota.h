/* quota.h -- what is left of one limit: so many requests, or tokens, in so long.
 *
 * Two kinds.  A quota is what a provider said: limit, left, reset.  A window is
 * what an operator wrote and we count ourselves: it slides, in slots, so that no
 * span of its period, wherever the provider's own begins, holds more than the
 * limit.  Plain values in shared memory: whoever writes holds a lock, whoever
 * only looks may see one that is a moment old. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/slice.h"
#include <stdatomic.h>
#include <stdint.h>

enum quota_dimension { /* requests or tokens a minute, an hour, a day, a month; of input, output */
                       QUOTA_RPS,
                       QUOTA_RPM,
                       QUOTA_RPH,
                       QUOTA_RPD,
                       QUOTA_RPMONTH,
                       QUOTA_TPM,
                       QUOTA_TPH,
                       QUOTA_TPD,
                       QUOTA_TPMONTH,
                       QUOTA_ITPM,
                       QUOTA_OTPM,
                       QUOTA_COUNT
};

/* A name such as "rpm"; QUOTA_COUNT when it is none. */
enum quota_dimension quota_named(struct slice name);
const char *quota_name(enum quota_dimension dimension);
bool quota_is_of_tokens(enum quota_dimension dimension);
int64_t quota_period_us(enum quota_dimension dimension);

struct quota {                /* as a provider said it; left -1: it has said nothing */
    _Atomic int64_t limit;    /* -1: unknown */
    _Atomic int64_t left;     /* -1: unknown */
    _Atomic int64_t reset_us; /* monotonic: when all of it is back, or one more */
    _Atomic int64_t gain_us;  /* from then on one more is back each gain_us; 0: all at once */
    _Atomic int64_t by_us;    /* requests that began before are older than what it says */
};

struct quota_word { /* what an answer says of one quota */
    enum quota_dimension dimension;
    bool is_of_key; /* of all models of the key */
    int64_t limit;  /* -1: not said; so is left */
    int64_t left;
    int64_t wait_us; /* until the reset; -1: not said */
};

void quota_clear(struct quota *quota);

/* The word of an answer to a request that began at by_us.  An older request's is believed only
 * where it says less. */
void quota_tell(struct quota *quota, const struct quota_word *word, int64_t by_us, int64_t now_us);

/* Something was used that no answer tells. */
void quota_use(struct quota *quota, enum quota_dimension dimension, int64_t amount, int64_t now_us);

/* How much is left at that time; -1: unknown. */
int64_t quota_left(const struct quota *quota, int64_t now_us);

enum { WINDOW_SLOTS = 61 }; /* the running one, and sixty that make up a period */

struct window {
    _Atomic int64_t limit; /* as it was configured last, for people; 0: none */
    _Atomic int64_t used;  /* the sum of the slots */
    int64_t slot;          /* the running one: time by the length of a slot */
    int32_t slots[WINDOW_SLOTS];
};

void window_clear(struct window *window);

/* Forgets what is older than the period. */
void window_turn(struct window *window, int64_t period_us, int64_t now_us);

/* Counts amount, which may be negative, at that time; nothing when it is forgotten already. */
void window_add(struct window *window, int64_t period_us, int64_t at_us, int64_t amount);

/* When so much more fits below limit, in a window that was turned; 0: now. */
int64_t window_free_us(const struct window *window, int64_t period_us, int64_t limit,
                       int64_t amount);

/* Makes used again what the slots hold: after a writer died. */
void window_mend(struct window *window);
