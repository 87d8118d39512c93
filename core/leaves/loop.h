/* loop.h -- the event loop's settings and the clock, in one place.
 *
 * One loop a process.  Times are monotonic microseconds; wall time is only for
 * what people and providers read. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <stdint.h>

struct event_base;

/* A loop tuned for many sockets (epoll changelist, no locks); aborts when there can be none. */
struct event_base *loop_new(void);

int64_t loop_now_us(void);      /* monotonic */
double loop_wall_seconds(void); /* seconds since 1970, fractions kept */

/* Both clocks are *us from now on, the wall's counted from a fixed date: for the simulator.
 * Borrowed; NULL: the system's again. */
void loop_set_clock(const int64_t *us);
