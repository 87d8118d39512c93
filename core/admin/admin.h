/* admin.h -- the master's own side: HTTP/1.1 for operators, at its doors.
 *
 * docs/openapi.yaml says what is served; the table is in admin_routes.c.  Answers are JSON, or
 * lines for people when the request accepts text/plain.  What the ledger knows the clerk answers.
 * Who may ask is admin_guard.c's. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct admin;
struct clerk;
struct crew;
struct doors;
struct reload;

enum { ADMIN_CONNECTIONS = 16, ADMIN_POLLS = ADMIN_CONNECTIONS + 2 };

/* All borrowed. */
struct admin *admin_new(struct doors *doors, struct reload *reload, struct crew *crew);

/* Who answers for the ledger; borrowed. */
void admin_set_clerk(struct admin *admin, struct clerk *clerk);

int admin_polls(struct admin *admin, struct pollfd *polls); /* gives how many */
int64_t admin_turn(struct admin *admin, int64_t now_us);    /* gives when to call it again */

/* A child ended; true when it was one of the admin's. */
bool admin_reap(struct admin *admin, pid_t pid, int status);

void admin_free(struct admin *admin); /* accepts NULL */
