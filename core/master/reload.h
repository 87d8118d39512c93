/* reload.h -- from one version of weir.lua to the next, as the master leads it.
 *
 * A version is loaded by a child, then by every worker beside the one that
 * serves; when all have it they switch, and when one has not, all forget it.
 * Whoever asks gets a ticket, and may look later what came of it.  It runs no
 * Lua itself. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "crew.h"
#include "leaves/buf.h"

struct doors;
struct loader;
struct reload;
struct trial;
struct version;

enum reload_cause { RELOAD_SIGNAL, RELOAD_CHANGE, RELOAD_COMMAND, RELOAD_ROLLBACK, RELOAD_CANARY };

/* All borrowed for good. */
struct reload *reload_new(const char *config_path, struct limits *limits, struct crew *crew,
                          struct doors *doors);

/* Loads the first version, waiting for it, and opens the listening socket: what weir serve begins
 * with.  Gives an exit code; problems are printed. */
int reload_first(struct reload *reload);

/* Reloads as soon as it may: at most four generations live at a time.  Asking again before it has
 * begun is asking once; the last cause counts. */
unsigned reload_ask(struct reload *reload, enum reload_cause cause);

/* Whether what the ticket asked for was done or refused; and what came of the last one. */
bool reload_is_done(const struct reload *reload, unsigned ticket);
bool reload_is_refused(const struct reload *reload);       /* the last one */
struct slice reload_problems(const struct reload *reload); /* of it, a line each */

/* Why the last reload, or canary, was refused, a line each: a refused rollback changes nothing of
 * it. */
struct slice reload_refusal(const struct reload *reload);
const struct trial *reload_trial(const struct reload *reload); /* a version that serves some */
bool reload_is_waiting(const struct reload *reload);           /* for older generations to end */

const struct version *reload_current(const struct reload *reload);
const struct version *reload_previous(const struct reload *reload); /* or NULL */
int reload_listener(const struct reload *reload);

/* The master's loop.  Between load and switch no worker may be started: is_telling. */
int64_t reload_turn(struct reload *reload, int64_t now_us); /* gives when to call again */
bool reload_is_telling(const struct reload *reload);
bool reload_reap(struct reload *reload, pid_t pid, int status); /* true: the child was its */
void reload_hear(void *reload, struct crew_worker *worker, struct control_message *message);
void reload_bury(struct reload *reload, const struct crew_worker *worker);
int reload_poll_fd(const struct reload *reload); /* readable when files change; or -1 */

/* The gateway is stopping: nothing is loaded any more, nobody listens. */
void reload_stop(struct reload *reload);
void reload_free(struct reload *reload);
