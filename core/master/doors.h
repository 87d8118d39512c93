/* doors.h -- where operators knock: a unix socket, and a port of TCP with a token.
 *
 * A version of weir.lua says where; what its doors need is opened before it serves, so that one
 * that cannot be opened refuses it.  A door that stays where it was is not closed.  It knows
 * nothing of what is said at them. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/err.h"
#include "policy/config.h"

enum { DOORS_PATH = 256 };

struct doors_plan {        /* a plain value, which crosses from the loader to the master */
    char path[DOORS_PATH]; /* of the socket; empty: none */
    char host[DOORS_PATH]; /* of the port; empty: none */
    int port;              /* 0: the system chooses */
    char token[CONFIG_TOKEN_SIZE];
    char hosts[1024]; /* other names of the port's machine, each with a space behind it */
};

struct doors;

enum door { DOOR_UNIX, DOOR_TCP, DOOR_COUNT };

struct doors *doors_new(void);

/* Opens what plan needs and is not open yet; false: problems say why, and nothing has changed.
 * Then either doors_take or doors_drop. */
MUST_CHECK bool doors_prepare(struct doors *doors, const struct doors_plan *plan,
                              struct buf *problems);

/* The plan holds from now on.  What was not prepared is opened; where that fails the log says why,
 * and that door stays shut. */
void doors_take(struct doors *doors, const struct doors_plan *plan);
void doors_drop(struct doors *doors);

int doors_fd(const struct doors *doors, enum door door); /* listens, without blocking; or -1 */
const struct doors_plan *doors_plan(const struct doors *doors);

/* Whether it is the token of the plan; in time that depends on what is given alone. */
bool doors_token_is(const struct doors *doors, struct slice given);

void doors_free(struct doors *doors); /* accepts NULL */
