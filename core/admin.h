/* admin.h -- the master's own door: HTTP/1.1 over a unix socket, for who may open it.
 *
 *   POST /reload    loads weir.lua anew; the answer says what came of it
 *   POST /rollback  brings the version before back
 *   POST /explain   what a request would try now
 *   GET  /status    generations and workers
 *   GET  /limits    what is known of targets: quotas, cooldowns, what is in flight
 *   GET  /metrics   counters and gauges, as Prometheus reads them
 *
 * Answers are JSON, or lines for people when the request accepts text/plain. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct admin;
struct crew;
struct reload;

enum { ADMIN_CONNECTIONS = 8, ADMIN_POLLS = ADMIN_CONNECTIONS + 1 };

/* path is copied; empty: no door.  Where it cannot be opened the log says why.  The others are
 * borrowed. */
struct admin *admin_new(const char *path, struct reload *reload, struct crew *crew);

int admin_polls(const struct admin *admin, struct pollfd *polls); /* gives how many */
int64_t admin_turn(struct admin *admin, int64_t now_us);          /* gives when to call it again */

/* A child ended; true when it was one of the admin's. */
bool admin_reap(struct admin *admin, pid_t pid, int status);

void admin_free(struct admin *admin); /* accepts NULL */
