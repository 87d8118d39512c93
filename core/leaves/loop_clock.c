/* loop_clock.c -- loop.h's two clocks, apart from libevent: leaves use them too. */
/* SPDX-License-Identifier: MIT */
#include "loop.h"
#include <stddef.h>
#include <time.h>

static const double VIRTUAL_EPOCH = 1767225600; /* 2026-01-01 */

static const int64_t *virtual_us; /* NULL: the system's clocks count */

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

int64_t loop_wall_us(void)
{
    return (int64_t)(loop_wall_seconds() * 1e6);
}

void loop_utc(char to[LOOP_UTC_SIZE], int64_t at_s)
{
    time_t at = (time_t)at_s;
    struct tm tm;

    gmtime_r(&at, &tm);
    strftime(to, LOOP_UTC_SIZE, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void loop_set_clock(const int64_t *us)
{
    virtual_us = us;
}
