/* period.c -- the calendar's beginnings, where clocks are put forward and back at midnight too.
 *
 * mktime may answer either of two midnights, and for one that there is not an hour of either day.
 * A period begins with the first instant of its first day. */
/* SPDX-License-Identifier: MIT */
#include "period.h"
#include <stdbool.h>
#include <string.h>
#include <time.h>

enum { STEP_S = 900 /* every zone's shifts are made of these */, STEPS = 3 * 3600 / STEP_S };

static bool is_of_day(int64_t at_s, const struct tm *day)
{
    time_t at = (time_t)at_s;
    struct tm tm;

    localtime_r(&at, &tm);
    return tm.tm_year == day->tm_year && tm.tm_yday == day->tm_yday;
}

static int64_t first_instant(struct tm tm)
{
    struct tm noon = tm; /* every day has one */

    noon.tm_hour = 12;
    noon.tm_isdst = tm.tm_isdst = -1;
    mktime(&noon); /* for its day of the year */
    int64_t at_s = (int64_t)mktime(&tm);
    for (int i = 0; i < STEPS && !is_of_day(at_s, &noon); i++)
        at_s += STEP_S;
    for (int i = 0; i < STEPS && is_of_day(at_s - STEP_S, &noon); i++)
        at_s -= STEP_S;
    return at_s;
}

int64_t period_start(const char *period, int64_t at_s, int later)
{
    time_t at = (time_t)at_s;
    struct tm tm;

    localtime_r(&at, &tm);
    tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
    if (strcmp(period, "month") == 0) {
        tm.tm_mday = 1;
        tm.tm_mon += later;
    } else if (strcmp(period, "week") == 0) {
        tm.tm_mday += 7 * later - (tm.tm_wday + 6) % 7; /* on Monday */
    } else {
        tm.tm_mday += later;
    }
    return first_instant(tm);
}

int64_t period_day_quarter(struct period_day *day, int64_t quarter)
{
    int64_t at_s = quarter * 900;

    if (at_s < day->starts_s || at_s >= day->ends_s) {
        day->starts_s = period_start("day", at_s, 0);
        day->ends_s = period_start("day", at_s, 1);
    }
    return day->starts_s / 900;
}
