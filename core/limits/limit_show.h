/* limit_show.h -- what is known of targets, for people and their tools. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "limit.h"

/* A line for each key of each target, or {"limits":[…]}. */
void limits_show(struct limits *limits, bool as_text, int64_t now_us, struct buf *out);
