/* gauges.h -- what GET /metrics answers: the counters of all workers, and what the master knows of
 * versions and workers. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"

struct clerk;
struct crew;
struct reload;

void gauges_write(const struct reload *reload, const struct crew *crew, const struct clerk *clerk,
                  struct buf *out);
