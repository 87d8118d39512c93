/* keep.h -- the file by which a restart knows cooldowns and quotas.
 *
 * Times are monotonic inside and "so long from now" in the file, beside the wall
 * clock, so that neither a reboot nor a clock that is set makes any longer.
 * The master writes it: whole, beside the old one, then in its place.  A file
 * that is torn, or not ours, is left out with a line in the log. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "limit.h"

struct keep;

/* Takes what the file knows into limits, which are borrowed. */
struct keep *keep_new(const char *path, struct limits *limits);

/* Writes when something changed, at most once a second; gives when to call again. */
int64_t keep_turn(struct keep *keep, int64_t now_us);

/* Writes for the last time; accepts NULL. */
void keep_free(struct keep *keep);

/* The file's text; and what such a text says, into limits: NULL, or why it is none. */
void keep_write(struct limits *limits, int64_t now_us, int64_t wall_us, struct buf *out);
const char *keep_read(struct limits *limits, struct slice text, int64_t now_us, int64_t wall_us);
