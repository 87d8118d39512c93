/* series.h -- what Prometheus calls a time series: name{label="value",…}.
 *
 * https://prometheus.io/docs/instrumenting/exposition_formats/ */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/slice.h"

struct slice series_name(struct slice series); /* without its labels; borrowed */

/* By name first, so that those of one name stand together: x{…} comes before xy, though '{' does
 * not.  Below, at or above 0, as memcmp. */
int series_compare(struct slice one, struct slice other);
