/* attempt_own.h -- what the files of the attempt share: attempt.c has its life, its clocks and
 * whole bodies, attempt_stream.c its events.  Nobody else includes it. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "attempt.h"
#include "leaves/buf.h"
#include <event2/event.h>
#include <event2/event_struct.h>

enum attempt_state { OPENING, COLLECTING, WAITING, READY, STREAMING, OVER };

struct attempt {
    const struct attempt_owner *owner;
    void *arg;
    struct transfer *transfer; /* NULL once it is closed */
    const struct provider *provider;
    char *target;
    struct grant grant;
    struct bill_item *item;
    struct sse *sse;
    struct buf held;  /* a body, or the events before STREAMING, as they came */
    struct buf error; /* the JSON of an error event */
    struct event timer;
    struct timeouts timeout;
    struct chunk_usage usage;
    int64_t said_bytes, held_bytes; /* of text; in what is held it is met once more later */
    int64_t told_bytes;             /* of these, when a usage told of the answer last */
    int64_t told_cost;              /* micro-dollars; -1: no usage said that */
    int64_t deadline_us;            /* of the whole request */
    int64_t started_us, open_us, commit_us;
    int64_t shown_us;   /* to the first event that a client has something to show for; -1 */
    int64_t content_us; /* when the last such event came */
    enum commit commit; /* what the commit point is */
    int status;
    enum attempt_state state;
    bool stream; /* the client asked for one */
    bool hides_usage;
    bool was_sent;
    bool paused;
    bool committed;    /* an event that commits came */
    bool finished;     /* a finish_reason came */
    bool done;         /* [DONE] came */
    bool garbage;      /* an event that is no JSON came */
    bool refused;      /* an error came in place of an answer */
    bool over;         /* the connection's answer ended */
    enum err over_err; /* how, while the policy had the answer */
    const char *over_detail;
};

/* ---- attempt.c ---- */

/* From now on the first of the clocks that run. */
void attempt_arm_timer(struct attempt *attempt);
/* Each says the last word to the owner, who may free the attempt: nothing after them.  The first
 * before the commit point, the second after it, the third whichever it is. */
void attempt_fail(struct attempt *attempt, const struct attempt_fault *fault);
void attempt_end(struct attempt *attempt, const struct attempt_fault *fault);
void attempt_fail_or_end(struct attempt *attempt, enum err err, const char *phase,
                         const char *message);
void attempt_note_usage(struct attempt *attempt, const struct chunk *chunk);
/* What was held is the whole answer, as it seems. */
void attempt_finish_plain(struct attempt *attempt);

/* ---- attempt_stream.c ---- */

void attempt_open_stream(struct attempt *attempt);
void attempt_feed(struct attempt *attempt, struct buf *bytes);
/* The stream's connection ended. */
void attempt_finish_stream(struct attempt *attempt, enum err err, const char *detail);
