/* period.h -- days, weeks and months in the process's time zone (TZ), as budgets have them. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <stdint.h>

/* When the "day", "week" (from Monday) or "month" began that holds the time at; or the one that is
 * so many later.  Seconds since 1970. */
int64_t period_start(const char *period, int64_t at_s, int later);
