/* explain.h -- what a request would try now, told by a child of the master.
 *
 * The child plays the request in the simulator over the version that serves and a copy of what all
 * workers know; the master runs no Lua. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include <sys/types.h>

struct explain;
struct limits;
struct version;

/* Begins; request is JSON (lua/weir/explain.lua).  NULL when there is no child. */
struct explain *explain_start(const char *config_path, const struct version *version,
                              const struct limits *limits, struct slice request);
pid_t explain_pid(const struct explain *explain);

/* The child ended: its text is appended to out, the command's exit code given back.  Frees it. */
int explain_finish(struct explain *explain, int status, struct buf *out);

/* Ends it unheard; accepts NULL. */
void explain_free(struct explain *explain);
