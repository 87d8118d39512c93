/* tally.h -- the gateway's own counters and histograms, which all workers add to.
 *
 * Series are taken once, from memory that the master maps before it forks, and then found by their
 * pointer: adding is an atomic addition, without a search and without an allocation.  What finds no
 * place is counted as dropped, and adds to a place that nobody reads.  (What policies count, by
 * names of their own, is metrics.h's.) */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/slice.h"
#include <stdint.h>

enum { TALLY_SERIES = 4096, TALLY_NAME_MAX = 240, TALLY_BUCKETS = 17, TALLY_WORKERS = 64 };

enum tally_kind { /* bounds: those that OpenTelemetry's GenAI conventions advise */
                  TALLY_COUNT,
                  TALLY_MONEY,    /* a counter of micro-dollars; written in dollars */
                  TALLY_DURATION, /* microseconds of a request; written in seconds */
                  TALLY_FIRST,    /* to its first event */
                  TALLY_BETWEEN,  /* between two events, and for a token; also the loop's lag */
                  TALLY_TOKENS,
};

struct tallies;
struct tally;

struct tally_batch { /* values gathered by one request; all zero is empty */
    uint32_t buckets[TALLY_BUCKETS];
    int64_t sum;
};

struct tallies *tallies_new(void); /* aborts when there is no memory */
void tallies_free(struct tallies *tallies);

/* The series of that name and labels: name{label="value",…} as for metrics_add.  Never NULL; good
 * until tallies_free. */
struct tally *tally_of(struct tallies *tallies, enum tally_kind kind, struct slice series);

void tally_count(struct tally *tally, uint64_t count);               /* of a counter */
void tally_observe(struct tally *tally, int64_t value);              /* of a histogram */
void tally_batch_add(struct tally_batch *batch, int64_t between_us); /* as TALLY_BETWEEN */
void tally_take_batch(struct tally *tally, const struct tally_batch *batch);

struct tally_pulse { /* what one worker is at */
    int64_t in_flight, waiting, connections, shadows;
};

void tallies_beat(struct tallies *tallies, int worker, const struct tally_pulse *pulse);
struct tally_pulse tallies_pulse(const struct tallies *tallies, int worker);

void tallies_write(struct tallies *tallies, struct buf *out); /* all series, by name */
