/* clerk.h -- the process that keeps the ledger, as the master has it: started, restarted, ended.
 *
 * It alone writes keys and sums, takes what workers' journals hold into the
 * database, and answers what operators ask of these.  No worker ever waits for
 * it.  Where the configuration has no ledger there is none. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/slice.h"
#include <sys/types.h>

struct budget;
struct clerk;
struct keys;
struct rings;

struct clerk_settings {
    const char *folder; /* the data folder; copied */
    struct keys *keys;  /* borrowed, like the next */
    struct budget *budget;
    struct rings *rings; /* of texts to be stored */
};

struct clerk *clerk_new(const struct clerk_settings *settings);

/* The configuration has a ledger from now on, or no longer: what is owed is written all the same.
 * The time zone, of days and of budgets' windows, is that of the process with clerk_turn. */
void clerk_want(struct clerk *clerk, bool is_wanted, const char *timezone);
/* Starts it when it is wanted and not there; gives when to call again (monotonic). */
int64_t clerk_turn(struct clerk *clerk, int64_t now_us);
bool clerk_is_ready(const struct clerk *clerk); /* workers may start: it is loaded, or not wanted */
bool clerk_is_wanted(const struct clerk *clerk);
bool clerk_runs(const struct clerk *clerk);
unsigned clerk_deaths(const struct clerk *clerk);            /* since the gateway began */
bool clerk_reap(struct clerk *clerk, pid_t pid, int status); /* true: it was the clerk */

enum clerk_pass { CLERK_TOOK, CLERK_IS_NONE, CLERK_IS_AWAY, CLERK_TOO_LARGE };

/* Whether it answers that request ("GET /keys …").  Then clerk_pass hands the connection over,
 * whose own descriptor stays the caller's to close; or says why not: there is no ledger, the
 * process is not there now, the request is too large.  Accepts NULL. */
bool clerk_answers(struct slice request);
enum clerk_pass clerk_pass(struct clerk *clerk, int fd, struct slice request);
/* Whether it tells what clients and models said: not for the port, whose token monitors have. */
bool clerk_is_private(struct slice request);

/* Lets it write what is left, and waits for its end; accepts NULL. */
void clerk_free(struct clerk *clerk);

/* Where journals are in a data folder, for workers; the caller's to free. */
char *clerk_journals(const char *folder);
