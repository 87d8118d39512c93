/* attempt_stream.c -- an attempt's events: kept until its commit point, then handed on.
 *
 * Each is looked at once before it, for what the stream is like, and met again
 * when the owner takes the stream. */
/* SPDX-License-Identifier: MIT */
#include "attempt_own.h"
#include "leaves/loop.h"
#include <assert.h>

enum { HELD_MAX = SSE_MAX_EVENT }; /* 16 MiB; bytes of a stream before its commit point */

static void on_sse_event(void *arg, const struct sse_event *event);

void attempt_open_stream(struct attempt *attempt)
{
    attempt->state = WAITING;
    attempt->sse = sse_new(0, on_sse_event, attempt);
}

/* ---- what comes ---- */

/* A usage tells of what came before it, and with it. */
static void count(struct attempt *attempt, const struct chunk *chunk)
{
    int64_t *said = attempt->state == STREAMING ? &attempt->said_bytes : &attempt->held_bytes;

    *said += (int64_t)chunk->said;
    if (chunk->count.completion >= 0 && chunk->count.completion >= attempt->usage.completion)
        attempt->told_bytes = attempt_said_bytes(attempt);
    attempt_note_usage(attempt, chunk);
}

/* What the stream is like so far; the owner hears of it after the batch. */
static void look(struct attempt *attempt, const struct sse_event *event, struct chunk *chunk,
                 bool *is_chunk)
{
    *is_chunk = false;
    if (event->is_done) {
        attempt->done = true;
        return;
    }
    if (!event->has_data)
        return;
    enum err err = chunk_read(event->data, chunk);
    if (err) { /* bad UTF-8 alone passes, once the stream is committed: the client may cope */
        attempt->garbage = err != ERR_UTF8 || attempt->state != STREAMING;
        return;
    }
    *is_chunk = true;
    count(attempt, chunk);
    bool is_error = slice_is(event->name, "error") || chunk->kind == CHUNK_ERROR ||
                    (chunk->kind == CHUNK_FINISH && slice_is(chunk->finish, "error"));
    if (is_error) {
        buf_clear(&attempt->error);
        buf_add(&attempt->error, event->data);
        return;
    }
    if (chunk->finish.ptr)
        attempt->finished = true;
    if (!chunk_commits(chunk))
        return;
    attempt->content_us = loop_now_us();
    if (attempt->shown_us < 0)
        attempt->shown_us = attempt->content_us - attempt->started_us;
    if (attempt->commit == COMMIT_FIRST ||
        (attempt->commit == COMMIT_CONTENT && chunk->kind != CHUNK_REASONING))
        attempt->committed = true;
}

/* Nothing after [DONE] or an error counts. */
static bool is_closed(const struct attempt *attempt)
{
    return attempt->done || attempt->error.len || attempt->state == OVER ||
           (attempt->garbage && attempt->state == STREAMING);
}

static void on_sse_event(void *arg, const struct sse_event *event)
{
    struct attempt *attempt = arg;
    struct chunk chunk;
    bool is_chunk;

    if (is_closed(attempt))
        return;
    look(attempt, event, &chunk, &is_chunk);
    if (attempt->error.len || (attempt->garbage && attempt->state == STREAMING))
        return;
    if (event->is_unended && event->has_data && !is_chunk && !attempt->done)
        return; /* half an event: the end is told, and its bytes would spoil what we say of it */
    if (attempt->state == STREAMING) {
        attempt->owner->on_event(attempt->arg, event, is_chunk ? &chunk : NULL);
    } else {
        buf_add(&attempt->held, event->raw);
    }
}

/* ---- what a batch comes to ---- */

static void fail_with_error_event(struct attempt *attempt)
{
    struct attempt_fault fault = {
        .phase = "first", .status = attempt->status, .body = buf_slice(&attempt->error)};

    attempt->refused = true;
    attempt_fail(attempt, &fault);
}

static void end_with_error_event(struct attempt *attempt)
{
    struct attempt_fault fault = {
        .phase = "body", .status = attempt->status, .body = buf_slice(&attempt->error)};
    attempt_end(attempt, &fault);
}

/* What a batch of events before the commit point comes to. */
static void settle_waiting(struct attempt *attempt)
{
    bool is_whole = attempt->commit == COMMIT_WHOLE && attempt->done && attempt->shown_us >= 0 &&
                    !attempt->error.len && !attempt->garbage;

    if (attempt->committed || is_whole) {
        attempt->state = READY;
        attempt->commit_us = loop_now_us() - attempt->started_us;
        upstream_pause(attempt->transfer);
        attempt->owner->on_commit(attempt->arg, attempt);
    } else if (attempt->error.len) {
        fail_with_error_event(attempt);
    } else if (attempt->garbage) {
        attempt_fail_or_end(attempt, ERR_BAD_RESPONSE, "first", "an event is not JSON");
    } else if (attempt->done) {
        attempt_fail_or_end(attempt, ERR_TRUNCATED, "first", "the stream ended before any content");
    } else if (attempt->held.len > HELD_MAX) {
        attempt_fail_or_end(attempt, ERR_BAD_RESPONSE, "first",
                            "too much came before the commit point");
    }
}

static void settle_streaming(struct attempt *attempt)
{
    if (attempt->error.len)
        end_with_error_event(attempt);
    else if (attempt->garbage)
        attempt_fail_or_end(attempt, ERR_BAD_RESPONSE, "body", "an event is not JSON");
    else if (attempt->done)
        attempt_end(attempt, NULL);
    else
        attempt->owner->on_flush(attempt->arg);
}

void attempt_feed(struct attempt *attempt, struct buf *bytes)
{
    enum err err = sse_feed(attempt->sse, bytes->ptr, bytes->len);

    buf_clear(bytes);
    if (err)
        attempt_fail_or_end(attempt, ERR_BAD_RESPONSE, "body", "an event is larger than 16 MiB");
    else if (attempt->state == WAITING)
        settle_waiting(attempt);
    else if (attempt->state == STREAMING)
        settle_streaming(attempt);
    else if (attempt->state == READY)
        attempt->owner->on_flush(attempt->arg);
}

/* The stream's connection ended.  An answer without [DONE] is whole when it had a
 * finish_reason and the provider is known to leave [DONE] out. */
void attempt_finish_stream(struct attempt *attempt, enum err err, const char *detail)
{
    if (!err && sse_finish(attempt->sse))
        err = ERR_BAD_RESPONSE;
    if (attempt->state == READY) { /* a filter waits for what came last: the rest is told then */
        attempt->over_err = err;
        attempt->over_detail = detail;
        attempt->owner->on_flush(attempt->arg);
        return;
    }
    bool whole = !err && attempt->finished && !attempt->provider->done_required;
    if (attempt->state == WAITING && attempt->shown_us >= 0 && !attempt->committed &&
        !is_closed(attempt) && !whole) { /* something came; not all of it */
        attempt_fail_or_end(attempt, err ? err : ERR_TRUNCATED, "first",
                            err ? detail
                                : "the stream ended without a finish_reason and without [DONE]");
        return;
    }
    if (attempt->state == WAITING && (attempt->committed || is_closed(attempt) || !err)) {
        if (!attempt->committed && !is_closed(attempt) && attempt->held.len &&
            attempt->held.ptr[0] == '{') {
            attempt_finish_plain(attempt); /* an error as JSON under an event stream's type */
            return;
        }
        if (!attempt->committed && !is_closed(attempt) && !attempt->garbage)
            attempt->done = true; /* ended in order, with nothing in it */
        settle_waiting(attempt);
        return;
    }
    if (attempt->state == STREAMING && is_closed(attempt)) {
        settle_streaming(attempt);
        return;
    }
    if (attempt->state == STREAMING && whole) {
        attempt_end(attempt, NULL);
        return;
    }
    attempt_fail_or_end(attempt, err ? err : ERR_TRUNCATED, "body",
                        err ? detail
                            : "the stream ended without a finish_reason and without [DONE]");
}

/* ---- for the owner ---- */

/* The held events are whole: a parser of their own reads them again, while the
 * attempt's parser keeps the piece of the next one. */
static void replay(struct attempt *attempt)
{
    struct buf held = attempt->held;
    struct sse *again = sse_new(0, on_sse_event, attempt);
    bool was_done = attempt->done;
    struct buf error = attempt->error;

    attempt->held = attempt->error = (struct buf){0};
    attempt->held_bytes = 0;
    attempt->done = attempt->garbage = false; /* they are met again, in their place */
    if (sse_feed(again, held.ptr, held.len) || sse_finish(again))
        assert(!"what was held is sound");
    attempt->done = was_done;
    buf_free(&attempt->error);
    attempt->error = error;
    sse_free(again);
    buf_free(&held);
}

void attempt_hold(struct attempt *attempt)
{
    attempt->state = READY;
    upstream_pause(attempt->transfer);
}

void attempt_stream(struct attempt *attempt)
{
    assert(attempt->state == READY);
    attempt->state = STREAMING;
    replay(attempt);
    if (attempt->state == READY) { /* held again on the way */
        attempt->owner->on_flush(attempt->arg);
        return;
    }
    attempt->content_us = loop_now_us(); /* what the owner took is not the provider's time */
    upstream_slim(attempt->transfer);
    upstream_read(attempt->transfer);
    attempt_arm_timer(attempt);
    if (is_closed(attempt)) {
        settle_streaming(attempt);
    } else if (attempt->over) {
        attempt_finish_stream(attempt, attempt->over_err, attempt->over_detail);
    } else {
        attempt->owner->on_flush(attempt->arg);
    }
}

void attempt_pause(struct attempt *attempt)
{
    attempt->paused = true;
    if (attempt->transfer)
        upstream_pause(attempt->transfer);
}

void attempt_resume(struct attempt *attempt)
{
    if (!attempt->paused)
        return;
    attempt->paused = false;
    attempt->content_us = loop_now_us(); /* the client's time is not the provider's */
    if (attempt->transfer && attempt->state == STREAMING)
        upstream_read(attempt->transfer);
    attempt_arm_timer(attempt);
}
