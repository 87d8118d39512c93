/* family.h -- what stands before the samples of one name in GET /metrics: # HELP and # TYPE.
 *
 * https://prometheus.io/docs/instrumenting/exposition_formats/ */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/slice.h"

/* One sentence of one line; NULL: neither the gateway nor weir.metric has series of that name. */
const char *family_help(struct slice name);

/* type: counter, gauge or histogram. */
void family_write(struct buf *out, struct slice name, const char *type);
