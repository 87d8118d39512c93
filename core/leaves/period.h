/* period.h -- days, weeks and months in the process's time zone (TZ), as budgets have them. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <stdint.h>

/* When the "day", "week" (from Monday) or "month" began that holds the time at; or the one that is
 * so many later.  Seconds since 1970. */
int64_t period_start(const char *period, int64_t at_s, int later);

struct period_day { /* the last that was asked for; all zero is none */
    int64_t starts_s, ends_s;
};

/* Quarters of an hour since 1970: the one with which the quarter's day begins.  Quick where most
 * are of the same day as the one before. */
int64_t period_day_quarter(struct period_day *day, int64_t quarter);
