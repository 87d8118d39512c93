/* admin_own.h -- what the files of the admin side share: its callers, and how they are answered.
 *
 *   READING ---> WAITING, EXPLAINING ---> WRITING ---> closed
 *      |  [asked a reload; or a child]       ^
 *      +-------------------------------------+  [caller_answer] */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "admin.h"
#include "leaves/buf.h"
#include "master/doors.h"
#include "parsers/gate.h"

enum caller_state { READING, WAITING, EXPLAINING, WRITING };

struct caller { /* one request, on one connection */
    int fd;     /* -1: none */
    enum door door;
    enum caller_state state;
    struct buf bytes;
    struct gate gate;
    size_t passed;  /* bytes that the gate has let in */
    struct buf out; /* the answer */
    size_t sent;    /* of it */
    int64_t deadline_us;
    unsigned ticket;
    struct explain *explain; /* while one runs for it */
    bool has_parameter;      /* ?wait: also for older generations to end */
    bool wants_text;
};

struct admin {
    struct doors *doors;
    struct reload *reload;
    struct crew *crew;
    struct clerk *clerk; /* NULL: none yet */
    struct caller callers[ADMIN_CONNECTIONS];
};

static const int64_t CALLER_US = 5 * 1000000; /* for a request, and an answer, to be whole */

/* Of a whole request: the value of a header, without blanks around it; ptr NULL: it is not there.
 */
struct slice caller_header(const struct caller *caller, const char *name);
struct slice caller_body(const struct caller *caller);

/* admin_guard.c.  False: it is answered already. */
bool admin_lets_in(const struct admin *admin, struct caller *caller);

/* admin_routes.c */
void admin_serve(struct admin *admin, struct caller *caller); /* a whole request */
void admin_look(struct admin *admin, struct caller *caller);  /* one that waits for a reload */
void admin_explained(struct caller *caller, int status);      /* its child ended */

/* admin_answer.c: the answer is made, and written as far as it goes. */
void caller_answer(struct caller *caller, int status, const struct buf *body);
void caller_answer_as(struct caller *caller, int status, const char *type, const char *headers,
                      const struct buf *body);
void caller_answer_error(struct caller *caller, int status, const char *message);
/* 405: only that method is served there. */
void caller_answer_not_allowed(struct caller *caller, const char *method);
void caller_write(struct caller *caller); /* more of it */
void caller_hang_up(struct caller *caller);
