/* attempt.h -- one send of a request to one target, up to its commit point and past it.
 *
 * It turns what the provider's connection does into four words for its owner:
 * committed, failed, here is an event, it is over.  Before the commit point
 * nothing of it has been seen by anybody.  It keeps the attempt's clocks.  It
 * knows nothing of clients and policies.
 *
 * Handlers: on_commit or on_fail comes once; after on_commit and attempt_stream
 * come on_event and on_flush, and on_end once, last.  None is called from inside
 * attempt_new, and none after attempt_free.  Each may free the attempt, but for
 * on_event, which may not. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "adapter.h"
#include "limits/grant.h"
#include "parsers/chunk.h"
#include "parsers/sse.h"

struct event_base;
struct attempt;
struct bill_item;

struct attempt_fault {
    enum err fault;      /* ERR_OK: it answered, and status and body say what is wrong */
    const char *phase;   /* "connect", "head", "first", "idle", "total", "body"; static */
    const char *message; /* a sentence; static; or NULL */
    int status;          /* 0: none came */
    struct slice body;   /* of the error, or the JSON of an error event; borrowed */
};

struct attempt_owner {
    void (*on_commit)(void *arg, struct attempt *attempt);
    void (*on_fail)(void *arg, struct attempt *attempt, const struct attempt_fault *fault);
    /* chunk is NULL for what is no JSON message: comments, [DONE], odd data. */
    void (*on_event)(void *arg, const struct sse_event *event, const struct chunk *chunk);
    void (*on_flush)(void *arg);                                  /* after a batch of events */
    void (*on_end)(void *arg, const struct attempt_fault *fault); /* NULL: it ended well */
};

struct attempt_new {
    struct event_base *base;
    struct upstream *upstream;
    struct adapter_call call;
    struct slice target;    /* copied */
    struct grant grant;     /* whoever took it ends it: attempt_grant */
    struct bill_item *item; /* likewise: attempt_item; NULL: there is no bill */
    struct timeouts timeout;
    enum commit commit;
    int64_t deadline_us; /* of the whole request; monotonic; 0: none */
    const struct attempt_owner *owner;
    void *arg;
};

struct attempt *attempt_new(const struct attempt_new *made);
/* Closes the connection; nothing is called back afterwards, and what was seen can still be asked.
 */
void attempt_close(struct attempt *attempt);
void attempt_free(struct attempt *attempt); /* closes; accepts NULL */

struct slice attempt_target(const struct attempt *attempt);
struct grant *attempt_grant(struct attempt *attempt);
struct bill_item *attempt_item(const struct attempt *attempt);
struct bill_item *attempt_take_item(struct attempt *attempt); /* whose end is the caller's now */
int attempt_status(const struct attempt *attempt);
bool attempt_is_stream(const struct attempt *attempt);
bool attempt_hides_usage(const struct attempt *attempt); /* the client did not ask for it */
bool attempt_was_sent(const struct attempt *attempt);
const struct timeouts *attempt_timeouts(const struct attempt *attempt);
const struct provider *attempt_provider(const struct attempt *attempt);
struct chunk_usage attempt_usage(const struct attempt *attempt);
/* Of what the model wrote; and of that what came after the last usage, in an answer that is not
 * whole. */
int64_t attempt_said_bytes(const struct attempt *attempt);
int64_t attempt_untold_bytes(const struct attempt *attempt);
/* What its usage says that it cost, in micro-dollars; -1: nothing. */
int64_t attempt_told_cost(const struct attempt *attempt);
/* An error came in place of an answer, whatever the status. */
bool attempt_was_refused(const struct attempt *attempt);
struct transfer *attempt_transfer(const struct attempt *attempt); /* for its head; NULL when over */

int64_t attempt_age_us(const struct attempt *attempt);
int64_t attempt_open_us(const struct attempt *attempt);   /* connecting took; -1: did not connect */
int64_t attempt_commit_us(const struct attempt *attempt); /* to the commit point; -1: not reached */
int64_t attempt_shown_us(const struct attempt *attempt);  /* to what could be shown; -1: nothing */

/* A committed plain answer: its bytes move to body. */
void attempt_take_body(struct attempt *attempt, struct buf *body);

/* A committed stream: events come from now on, those that were held at once. */
void attempt_stream(struct attempt *attempt);

/* From within on_event: no more of them until attempt_stream is called again; what comes is
 * kept.  on_flush still comes for the batch. */
void attempt_hold(struct attempt *attempt);

/* For a client that reads slowly: stop and go on taking bytes from the provider. */
void attempt_pause(struct attempt *attempt);
void attempt_resume(struct attempt *attempt);
