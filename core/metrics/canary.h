/* canary.h -- a new generation on part of the traffic: who goes there, how both fare, what follows.
 *
 * The tally is in memory that the master maps before it forks: workers add, the
 * master reads.  It knows nothing of generations beyond their numbers. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/slice.h"
#include <stdint.h>

struct canary; /* a tally */

struct canary_counts { /* of requests that ended, of one generation, since the trial began */
    uint64_t requests;
    uint64_t errors; /* of these */
};

enum canary_verdict { CANARY_GOES_ON, CANARY_IS_GOOD, CANARY_IS_BAD };

/* What to do with a generation that fared like fresh beside one that fared like old.  requests: how
 * many of its own it needs to be good; is_due: and its time is over.  Bad is what chance explains
 * less than once in some hundred times; what is neither waits, until ten times as many requests. */
enum canary_verdict canary_judge(const struct canary_counts *old, const struct canary_counts *fresh,
                                 uint64_t requests, bool is_due);

/* Where a conversation lies between 0 and 1: always there, in every worker and version.  said: its
 * messages, a JSON array, of which those up to the user's first count, or any other text. key_name:
 * whose it is, or NULL. */
double canary_place(const char *key_name, struct slice said);

struct canary *canary_new(void); /* aborts when there is no memory */
void canary_free(struct canary *canary);

/* A trial begins: both count from 0.  fresh 0: none is on. */
void canary_begin(struct canary *canary, unsigned old, unsigned fresh);
void canary_count(struct canary *canary, unsigned number, bool is_error); /* others: not counted */
void canary_read(const struct canary *canary, struct canary_counts *old,
                 struct canary_counts *fresh);
