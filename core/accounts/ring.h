/* ring.h -- records on their way from workers to the clerk, in memory that both share.
 *
 * Each worker has a ring of its own, of which it moves the one end and the clerk the other: neither
 * ever waits.  What finds no room is dropped and counted.  A worker that dies while it puts leaves
 * nothing behind; a clerk that dies while it takes leaves all to the next.  It knows nothing of
 * what the records say. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/slice.h"

enum {
    RING_COUNT = 64,             /* workers that have one, by their number */
    RING_BYTES = 4 * 1024 * 1024 /* of each; pages count as they are used */
};

struct rings;

struct rings *rings_new(void); /* in memory that children share; aborts when there is none */
void rings_free(struct rings *rings);

struct rings_rule { /* what the configuration that serves allows */
    int64_t keep_s; /* seconds that texts may be kept; 0: none may */
    int64_t room;   /* bytes that all of them may take */
};

/* Set by the master, read by the clerk. */
void rings_allow(struct rings *rings, struct rings_rule rule);
struct rings_rule rings_allowed(const struct rings *rings);

/* The worker's: a copy of the record.  False: it found no room, which is counted. */
bool rings_put(struct rings *rings, int worker, struct slice record);

/* The clerk's: the first record that was not taken, borrowed, and where the next begins.  False:
 * there is none. */
uint64_t rings_begin(const struct rings *rings, int worker);
bool rings_next(struct rings *rings, int worker, uint64_t *at, struct slice *record);
/* All before that place are taken, and overwritten. */
void rings_take(struct rings *rings, int worker, uint64_t at);

enum rings_count { RINGS_STORED, RINGS_DROPPED };

void rings_count(struct rings *rings, enum rings_count what, uint64_t more);
uint64_t rings_counted(const struct rings *rings, enum rings_count what);
