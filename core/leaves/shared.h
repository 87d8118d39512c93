/* shared.h -- a dictionary that all workers share: weir.shared.
 *
 * A fixed table in memory that the master maps before it forks, so it outlives
 * workers and generations.  Bounded: when the places that a key may have are
 * taken, the entry that ends soonest, else the one written longest ago, gives
 * way.  A worker killed at any instant leaves no lock held and no torn value:
 * the locks are robust, and a value is written beside the old one before it
 * takes its place.  It knows nothing of Lua. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "err.h"
#include "slice.h"
#include <stdint.h>

enum {
    SHARED_ENTRIES = 4096,
    SHARED_KEY_MAX = 200,    /* bytes, the dictionary's name included */
    SHARED_VALUE_MAX = 1024, /* bytes of a string */
};

enum shared_type { SHARED_NOTHING, SHARED_BOOLEAN, SHARED_NUMBER, SHARED_STRING };

struct shared_value { /* a plain value */
    enum shared_type type;
    double number; /* 0 or 1 for a boolean */
    size_t len;
    char text[SHARED_VALUE_MAX];
};

struct shared;

struct shared *shared_new(void); /* aborts when there is no memory */
/* Takes over all that is in from. */
void shared_copy(struct shared *shared, struct shared *from);
void shared_free(struct shared *shared);

/* key: "name\0key", made by the caller.  now_us is monotonic; until_us 0: no end. */
void shared_get(struct shared *shared, struct slice key, int64_t now_us, struct shared_value *out);

/* Fails with ERR_TOO_LARGE when the key is longer than SHARED_KEY_MAX. */
MUST_CHECK enum err shared_set(struct shared *shared, struct slice key,
                               const struct shared_value *value, int64_t until_us, int64_t now_us);

/* Adds to a number, from 0 when there is none, in one step; *out is the sum.  An entry that exists
 * keeps its end; a new one gets until_us.  Fails with ERR_TYPE when there is a value that is no
 * number, or ERR_TOO_LARGE. */
MUST_CHECK enum err shared_add(struct shared *shared, struct slice key, double by, int64_t until_us,
                               int64_t now_us, double *out);
void shared_delete(struct shared *shared, struct slice key);
