/* pulse.c -- a timer that measures its own delay. */
/* SPDX-License-Identifier: MIT */
#include "pulse.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include <event2/event.h>
#include <event2/event_struct.h>

enum { BEAT_US = 100 * 1000 };

struct pulse {
    struct tallies *tallies;
    int worker;
    struct tally_pulse (*look)(const void *arg);
    const void *arg;
    struct tally *lag;
    int64_t due_us;
    struct event timer;
};

static void set_timer(struct pulse *pulse)
{
    struct timeval beat = {0, BEAT_US};

    pulse->due_us = loop_now_us() + BEAT_US;
    event_add(&pulse->timer, &beat);
}

static void on_beat(evutil_socket_t fd, short what, void *arg)
{
    struct pulse *pulse = arg;
    int64_t late_us = loop_now_us() - pulse->due_us;
    struct tally_pulse now = pulse->look(pulse->arg);

    tally_observe(pulse->lag, late_us > 0 ? late_us : 0);
    tallies_beat(pulse->tallies, pulse->worker, &now);
    set_timer(pulse);
}

struct pulse *pulse_new(struct event_base *base, struct tallies *tallies, int worker,
                        struct tally_pulse (*look)(const void *arg), const void *arg)
{
    struct pulse *pulse = mem_new(sizeof *pulse);

    pulse->tallies = tallies;
    pulse->worker = worker;
    pulse->look = look;
    pulse->arg = arg;
    pulse->lag = tally_of(tallies, TALLY_BETWEEN, SLICE("weir_loop_lag_seconds"));
    event_assign(&pulse->timer, base, -1, 0, on_beat, pulse);
    set_timer(pulse);
    return pulse;
}

void pulse_free(struct pulse *pulse)
{
    if (!pulse)
        return;
    tallies_beat(pulse->tallies, pulse->worker, &(struct tally_pulse){0});
    event_del(&pulse->timer);
    mem_free(pulse);
}
