/* loop.c -- libevent's base and the two clocks. */
/* SPDX-License-Identifier: MIT */
#include "loop.h"
#include <event2/event.h>
#include <stdlib.h>
#include <time.h>

static const double VIRTUAL_EPOCH = 1767225600; /* 2026-01-01 */

static const int64_t *virtual_us; /* NULL: the system's clocks count */

struct event_base *loop_new(void)
{
    struct event_config *config = event_config_new();
    if (!config)
        abort();
    /* NOLOCK: one thread.  CHANGELIST: an event deleted and added again within
     * one turn costs no system call, which direct flushing relies on. */
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    if (!base)
        abort();
    return base;
}

int64_t loop_now_us(void)
{
    struct timespec now;

    if (virtual_us)
        return *virtual_us;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

double loop_wall_seconds(void)
{
    struct timespec now;

    if (virtual_us)
        return VIRTUAL_EPOCH + (double)*virtual_us / 1e6;
    clock_gettime(CLOCK_REALTIME, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

void loop_set_clock(const int64_t *us)
{
    virtual_us = us;
}
