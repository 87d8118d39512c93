/* metrics.h -- counters that all workers add to, in the text format that Prometheus reads.
 *
 * A fixed table in memory that the master maps before it forks, so it outlives
 * workers and generations.  A series is its name and labels as they are written
 * out.  Each process adds to a cell of its own; who reads sums them.  A process
 * killed at any instant leaves nothing locked and at most one place unused.
 * Bounded: what finds no place is counted as dropped.
 *
 * https://prometheus.io/docs/instrumenting/exposition_formats/ */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/slice.h"

enum {
    METRICS_SERIES = 1024,
    METRICS_SERIES_MAX = 256, /* bytes of a name with its labels */
};

struct metrics;
struct tallies;

struct metrics *metrics_new(void); /* aborts when there is no memory */
void metrics_free(struct metrics *metrics);

/* series: name, or name{label="value",…}, labels in a fixed order. */
void metrics_add(struct metrics *metrics, struct slice series, double by);

/* Appends ,label="value" to a series; the first one opens the brace, which the caller closes.
 * Of the value 64 bytes count; what is no UTF-8, or ends a line, is replaced. */
void metrics_add_label(struct buf *series, struct slice label, struct slice value);

/* The gateway's own, in memory of the same kind.  Borrowed. */
struct tallies *metrics_tallies(const struct metrics *metrics);

/* All series, by name. */
void metrics_write(struct metrics *metrics, struct buf *out);
