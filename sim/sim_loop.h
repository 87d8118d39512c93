/* sim_loop.h -- virtual time: a clock that stands still until somebody moves it, and timers.
 *
 * The timers are libevent's structs under libevent's functions, by other names (sim_names.h);
 * no loop turns them but this one.  One clock a process. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct event;
struct event_base;
struct timeval;

void sim_loop_init(void); /* from now on loop_now_us is the virtual clock */
/* Before the first of these: the virtual clock begins there. */
void sim_loop_begin_at(int64_t us);
void sim_loop_fini(void); /* and the system's again */

/* Moves the clock to the next timer's time and runs it; false when none waits. */
bool sim_loop_turn(void);

/* Runs what is due until then, and moves the clock on by that much. */
void sim_loop_advance(int64_t us);

int sim_event_assign(struct event *event, struct event_base *base, int fd, short what,
                     void (*callback)(int fd, short what, void *arg), void *arg);
int sim_event_add(struct event *event, const struct timeval *wait); /* NULL: waits for no time */
int sim_event_del(struct event *event);
void sim_event_active(struct event *event, int what, short calls);
