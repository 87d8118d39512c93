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
int64_t loop_wall_us(void);     /* the same in microseconds */

/* That second since 1970 as RFC 3339 has it, in UTC: 20 bytes and a NUL. */
enum { LOOP_UTC_SIZE = 32 };
void loop_utc(char to[LOOP_UTC_SIZE], int64_t at_s);

/* Both clocks are *us from now on, the wall's counted from a fixed date: for the simulator.
 * Borrowed; NULL: the system's again. */
void loop_set_clock(const int64_t *us);
