/* attempt.c -- from a transfer to events, with the clocks.
 *
 *            +-> COLLECTING --+              (a plain answer, or an error's body)
 *            |                v
 * OPENING ---+              READY -> STREAMING -> OVER
 *            |                ^
 *            +-> WAITING -----+              (a stream without content so far)
 *
 * OPENING    -> COLLECTING [on_head]         plain, or a status that is no success
 * OPENING    -> WAITING    [on_head]         an event stream
 * COLLECTING -> READY      [on_done]         the whole answer is there and is sound
 * WAITING    -> READY      [commit]          the first event with something to show
 * READY      -> STREAMING  [attempt_stream]  the owner wants the events
 * STREAMING  -> READY      [attempt_hold]    a filter waits: events are kept again
 * (any)      -> OVER       [fail, end]       the owner was told; it frees the attempt */
/* SPDX-License-Identifier: MIT */
#include "attempt_own.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include <strings.h>

enum {
    ERROR_BODY_MAX = 64 * 1024,   /* bytes of an error that are looked at */
    PLAIN_MAX = 64 * 1024 * 1024, /* bytes of a plain answer */
};

static void on_open(void *arg, int64_t us);
static void on_head(void *arg, int status);
static void on_bytes(void *arg, struct buf *bytes);
static void on_done(void *arg, enum err err, const char *detail);
static void on_timer(evutil_socket_t fd, short what, void *arg);

static const struct upstream_handler handler = {on_open, on_head, on_bytes, on_done};

/* ---- clocks ---- */

static void sooner(int64_t *soonest, int64_t from_us, int64_t ms)
{
    int64_t at = from_us + ms * 1000;
    if (ms > 0 && (*soonest == 0 || at < *soonest))
        *soonest = at;
}

/* When the first of the clocks that run now runs out; 0: none does. */
static int64_t next_deadline(const struct attempt *attempt)
{
    int64_t soonest = attempt->deadline_us;

    sooner(&soonest, attempt->started_us, attempt->timeout.total_ms);
    if (attempt->open_us < 0)
        sooner(&soonest, attempt->started_us, attempt->timeout.connect_ms);
    if (attempt->commit_us < 0)
        sooner(&soonest, attempt->started_us, attempt->timeout.first_ms);
    bool is_streaming = attempt->state == STREAMING && !attempt->paused;
    if (is_streaming || (attempt->state == WAITING && attempt->shown_us >= 0))
        sooner(&soonest, attempt->content_us, attempt->timeout.idle_ms);
    return soonest;
}

/* Deadlines that moved away since are noticed when the timer fires, so that a
 * chunk costs no timer. */
void attempt_arm_timer(struct attempt *attempt)
{
    int64_t deadline = next_deadline(attempt);
    int64_t wait_us = deadline - loop_now_us();

    if (deadline == 0)
        return;
    if (wait_us < 0)
        wait_us = 0;
    struct timeval wait = {wait_us / 1000000, wait_us % 1000000};
    event_add(&attempt->timer, &wait);
}

static const char *phase_of(const struct attempt *attempt, int64_t now_us)
{
    int64_t age_ms = (now_us - attempt->started_us) / 1000;
    bool over = attempt->deadline_us && now_us >= attempt->deadline_us;

    if (over || (attempt->timeout.total_ms && age_ms >= attempt->timeout.total_ms))
        return "total";
    if (attempt->open_us < 0 && attempt->timeout.connect_ms &&
        age_ms >= attempt->timeout.connect_ms)
        return "connect";
    bool first_is_over = attempt->timeout.first_ms && age_ms >= attempt->timeout.first_ms;
    return attempt->commit_us < 0 && first_is_over ? "first" : "idle";
}

static const char *timeout_message(const char *phase)
{
    switch (phase[0]) {
    case 't': return "the whole answer took too long";
    case 'c': return "connecting took too long";
    case 'f': return "no content came in time";
    default: return "the stream stalled";
    }
}

/* ---- endings ---- */

static void close_transfer(struct attempt *attempt)
{
    struct transfer *transfer = attempt->transfer;

    attempt->transfer = NULL;
    if (!transfer)
        return;
    if (attempt->done) /* the answer is whole: what is left of it is a chunk of length 0 */
        upstream_release(transfer);
    else
        upstream_cancel(transfer);
}

/* Before the commit point.  The head stays readable for the owner, who frees us. */
void attempt_fail(struct attempt *attempt, const struct attempt_fault *fault)
{
    attempt->state = OVER;
    event_del(&attempt->timer);
    attempt->owner->on_fail(attempt->arg, attempt, fault);
}

void attempt_end(struct attempt *attempt, const struct attempt_fault *fault)
{
    attempt_close(attempt);
    attempt->owner->on_end(attempt->arg, fault);
}

void attempt_fail_or_end(struct attempt *attempt, enum err err, const char *phase,
                         const char *message)
{
    struct attempt_fault fault = {
        .fault = err, .phase = phase, .message = message, .status = attempt->status};

    switch (attempt->state) {
    case OPENING:
    case COLLECTING:
    case WAITING: attempt_fail(attempt, &fault); return;
    case READY:
    case STREAMING: attempt_end(attempt, &fault); return;
    case OVER: return;
    }
}

/* The larger of each: usage may come in every message. */
void attempt_note_usage(struct attempt *attempt, const struct chunk *chunk)
{
    chunk_usage_merge(&attempt->usage, &chunk->count);
    if (chunk->cost > attempt->told_cost)
        attempt->told_cost = chunk->cost;
}

static void fail_with_body(struct attempt *attempt)
{
    struct chunk chunk;
    struct attempt_fault fault = {
        .phase = "body", .status = attempt->status, .body = buf_slice(&attempt->held)};
    if (fault.body.len > ERROR_BODY_MAX)
        fault.body.len = ERROR_BODY_MAX;
    attempt->refused = true;
    if (chunk_read(fault.body, &chunk) == ERR_OK) /* some charge for these, and say so */
        attempt_note_usage(attempt, &chunk);
    attempt_fail(attempt, &fault);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct attempt *attempt = arg;
    int64_t now_us = loop_now_us();
    int64_t deadline = next_deadline(attempt);

    if (deadline == 0 || now_us < deadline) {
        attempt_arm_timer(attempt);
        return;
    }
    const char *phase = phase_of(attempt, now_us);
    if (attempt->state == READY) /* the policy has it and takes its time */
        return;
    attempt_fail_or_end(attempt, ERR_TIMEOUT, phase, timeout_message(phase));
}

/* ---- the head ---- */

static void on_open(void *arg, int64_t us)
{
    struct attempt *attempt = arg;

    attempt->open_us = us;
    attempt->was_sent = true;
}

static bool has_type(struct slice type, const char *wanted)
{
    size_t len = strlen(wanted);
    return type.len >= len && strncasecmp(type.ptr, wanted, len) == 0;
}

static void on_head(void *arg, int status)
{
    struct attempt *attempt = arg;
    struct slice type = upstream_header(attempt->transfer, "content-type");
    struct slice encoding = upstream_header(attempt->transfer, "content-encoding");

    attempt->status = status;
    if (status < 200 || status == 204 || status == 205) {
        attempt_fail_or_end(attempt, ERR_BAD_RESPONSE, "head",
                            "the status is none that a model answers with");
        return;
    }
    if (encoding.len && !slice_is(encoding, "identity")) {
        attempt_fail_or_end(attempt, ERR_BAD_RESPONSE, "head", "the answer is compressed, unasked");
        return;
    }
    if (status == 200 && type.len && !has_type(type, "application/json") &&
        !has_type(type, "text/event-stream")) {
        attempt_fail_or_end(attempt, ERR_BAD_RESPONSE, "head",
                            "the answer is neither JSON nor an event stream");
        return;
    }
    bool is_events = type.len == 0 || has_type(type, "text/event-stream");
    if (status == 200 && attempt->stream && is_events) {
        attempt_open_stream(attempt);
    } else {
        attempt->state = COLLECTING;
    }
    upstream_read(attempt->transfer);
}

/* ---- whole bodies ---- */

static void finish_error(struct attempt *attempt)
{
    if (attempt->status >= 300) {
        fail_with_body(attempt);
        return;
    }
    attempt_fail_or_end(attempt, ERR_BAD_RESPONSE, "head",
                        "the status is none that a model answers with");
}

void attempt_finish_plain(struct attempt *attempt)
{
    struct chunk chunk;

    if (attempt->held.len == 0) {
        attempt_fail_or_end(attempt, ERR_TRUNCATED, "body", "the answer is empty");
    } else if (chunk_read(buf_slice(&attempt->held), &chunk)) {
        attempt_fail_or_end(attempt, ERR_TRUNCATED, "body", "the answer is no whole JSON object");
    } else if (chunk.kind == CHUNK_ERROR) {
        fail_with_body(attempt);
    } else if (attempt->stream) {
        attempt_fail_or_end(attempt, ERR_BAD_RESPONSE, "body",
                            "JSON came where a stream was asked for");
    } else {
        attempt_note_usage(attempt, &chunk);
        attempt->said_bytes = attempt->told_bytes = (int64_t)chunk.said;
        attempt->state = READY;
        attempt->commit_us = attempt->shown_us = loop_now_us() - attempt->started_us;
        attempt->owner->on_commit(attempt->arg, attempt);
    }
}

static void collect(struct attempt *attempt, struct buf *bytes)
{
    size_t most = attempt->status == 200 ? PLAIN_MAX : ERROR_BODY_MAX;

    if (attempt->held.len == 0) { /* the first bytes, often all: no copy */
        buf_free(&attempt->held);
        attempt->held = *bytes;
        *bytes = (struct buf){0};
    } else {
        buf_add(&attempt->held, buf_slice(bytes));
        buf_clear(bytes);
    }
    if (attempt->held.len <= most)
        return;
    if (attempt->status == 200)
        attempt_fail_or_end(attempt, ERR_BAD_RESPONSE, "body", "the answer is larger than 64 MiB");
    else
        finish_error(attempt);
}

static void on_bytes(void *arg, struct buf *bytes)
{
    struct attempt *attempt = arg;

    switch (attempt->state) {
    case COLLECTING: collect(attempt, bytes); return;
    case WAITING:
    case STREAMING: attempt_feed(attempt, bytes); return;
    case OPENING:
    case READY:
    case OVER: return; /* not reading: offered again */
    }
}

static void on_done(void *arg, enum err err, const char *detail)
{
    struct attempt *attempt = arg;

    attempt->over = true;
    switch (attempt->state) {
    case OPENING: attempt_fail_or_end(attempt, err ? err : ERR_TRUNCATED, "head", detail); return;
    case COLLECTING:
        if (attempt->status != 200)
            finish_error(attempt);
        else if (err)
            attempt_fail_or_end(attempt, err, "body", detail);
        else
            attempt_finish_plain(attempt);
        return;
    case WAITING:
    case STREAMING: attempt_finish_stream(attempt, err, detail); return;
    case READY:
        attempt->over_err = err;
        attempt->over_detail = detail;
        return;
    case OVER: return;
    }
}

/* ---- for the owner ---- */

struct attempt *attempt_new(const struct attempt_new *made)
{
    struct attempt *attempt = mem_new(sizeof *attempt);

    attempt->owner = made->owner;
    attempt->arg = made->arg;
    attempt->provider = made->call.provider;
    attempt->target = mem_dup(made->target);
    attempt->grant = made->grant;
    attempt->item = made->item;
    attempt->timeout = made->timeout;
    attempt->deadline_us = made->deadline_us;
    attempt->stream = made->call.stream;
    attempt->hides_usage = made->call.add_usage;
    attempt->usage = chunk_usage_none();
    attempt->told_cost = -1;
    attempt->commit = made->commit;
    attempt->open_us = attempt->commit_us = attempt->shown_us = -1;
    attempt->started_us = loop_now_us();
    event_assign(&attempt->timer, made->base, -1, 0, on_timer, attempt);
    attempt->transfer = adapter_open(made->upstream, &made->call, &handler, attempt);
    attempt_arm_timer(attempt);
    return attempt;
}

void attempt_close(struct attempt *attempt)
{
    attempt->state = OVER;
    event_del(&attempt->timer);
    close_transfer(attempt);
}

void attempt_free(struct attempt *attempt)
{
    if (!attempt)
        return;
    attempt_close(attempt);
    sse_free(attempt->sse);
    buf_free(&attempt->held);
    buf_free(&attempt->error);
    mem_free(attempt->target);
    mem_free(attempt);
}

struct grant *attempt_grant(struct attempt *attempt)
{
    return &attempt->grant;
}

struct slice attempt_target(const struct attempt *attempt)
{
    return slice_of(attempt->target);
}

int attempt_status(const struct attempt *attempt)
{
    return attempt->status;
}

struct bill_item *attempt_take_item(struct attempt *attempt)
{
    struct bill_item *item = attempt->item;

    attempt->item = NULL;
    return item;
}

struct bill_item *attempt_item(const struct attempt *attempt)
{
    return attempt->item;
}

int64_t attempt_said_bytes(const struct attempt *attempt)
{
    return attempt->said_bytes + attempt->held_bytes;
}

int64_t attempt_told_cost(const struct attempt *attempt)
{
    return attempt->told_cost;
}

int64_t attempt_untold_bytes(const struct attempt *attempt)
{
    bool is_whole = attempt->done || (attempt->over && attempt->finished);
    int64_t untold = attempt_said_bytes(attempt) - attempt->told_bytes;

    return is_whole || untold < 0 ? 0 : untold;
}

bool attempt_was_refused(const struct attempt *attempt)
{
    bool is_other = attempt->status != 0 && attempt->status != 200;

    return is_other || (attempt->refused && attempt_said_bytes(attempt) == 0);
}

bool attempt_is_stream(const struct attempt *attempt)
{
    return attempt->sse != NULL;
}

bool attempt_hides_usage(const struct attempt *attempt)
{
    return attempt->hides_usage;
}

bool attempt_was_sent(const struct attempt *attempt)
{
    return attempt->was_sent;
}

const struct timeouts *attempt_timeouts(const struct attempt *attempt)
{
    return &attempt->timeout;
}

const struct provider *attempt_provider(const struct attempt *attempt)
{
    return attempt->provider;
}

struct chunk_usage attempt_usage(const struct attempt *attempt)
{
    return attempt->usage;
}

struct transfer *attempt_transfer(const struct attempt *attempt)
{
    return attempt->transfer;
}

int64_t attempt_age_us(const struct attempt *attempt)
{
    return loop_now_us() - attempt->started_us;
}

int64_t attempt_open_us(const struct attempt *attempt)
{
    return attempt->open_us;
}

int64_t attempt_commit_us(const struct attempt *attempt)
{
    return attempt->commit_us;
}

int64_t attempt_shown_us(const struct attempt *attempt)
{
    return attempt->shown_us;
}

void attempt_take_body(struct attempt *attempt, struct buf *body)
{
    *body = attempt->held;
    attempt->held = (struct buf){0};
}
