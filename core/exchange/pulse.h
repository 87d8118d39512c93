/* pulse.h -- ten times a second: how late a worker's loop is, and what the worker is at. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "metrics/tally.h"

struct event_base;
struct pulse;

/* look says what the worker is at.  All borrowed until pulse_free. */
struct pulse *pulse_new(struct event_base *base, struct tallies *tallies, int worker,
                        struct tally_pulse (*look)(const void *arg), const void *arg);
void pulse_free(struct pulse *pulse); /* the worker is at nothing any more; accepts NULL */
