/* exchange_stream.c -- a committed stream on its way, and one that goes on where another broke. */
/* SPDX-License-Identifier: MIT */
#include "client/answer.h"
#include "exchange_own.h"
#include "leaves/loop.h"
#include <stdio.h>

enum { QUEUE_HIGH = 256 * 1024 }; /* bytes the client does not take: the provider waits */

/* ---- a stream on its way ---- */

/* The usage chunk that only the gateway asked for. */
static bool is_hidden(const struct exchange *x, const struct chunk *chunk)
{
    return chunk && chunk->kind == CHUNK_USAGE && attempt_hides_usage(x->attempt);
}

/* What the filters made of an event has been added to out after before; raw is the event. */
static void settle_event(struct exchange *x, enum policy_filtered filtered, struct slice raw,
                         bool hides, size_t before)
{
    struct buf *out = &x->world->out;

    if (filtered == POLICY_FILTER_FAILED) {
        x->erred = true;
        out->len = before;
        if (generation_config(x->generation)->on_error_open)
            buf_add(out, raw);
        else
            x->failed = true;
    } else if (hides && out->len - before >= raw.len &&
               memcmp(out->ptr + out->len - raw.len, raw.ptr, raw.len) == 0) {
        out->len -= raw.len; /* the filters saw it; the client did not ask for it */
    }
}

static void keep_waiting(struct exchange *x, const struct sse_event *event, bool hides)
{
    x->filtering = true;
    x->hides = hides;
    x->unended = event->is_unended;
    buf_clear(&x->waiting);
    buf_add(&x->waiting, event->raw);
    attempt_hold(x->attempt);
}

static void pass(struct exchange *x, const struct sse_event *event, const struct chunk *chunk)
{
    struct buf *out = &x->world->out;
    bool hides = is_hidden(x, chunk);
    size_t before = out->len;

    if (!policy_has_filters(x->policy)) {
        if (!hides)
            buf_add(out, event->raw);
    } else {
        enum policy_filtered filtered = policy_filter_event(x->policy, event, chunk, out);
        if (filtered == POLICY_FILTER_WAITS) {
            keep_waiting(x, event, hides);
            return;
        }
        settle_event(x, filtered, event->raw, hides, before);
    }
    if (event->is_unended && out->len > before)
        buf_add_text(out, "\n\n");
}

/* An event of a stream that goes on where another broke. */
static void pass_joined(struct exchange *x, const struct sse_event *event,
                        const struct chunk *chunk)
{
    struct buf raw = {0};
    struct chunk joined;

    buf_add_text(&raw, "data: ");
    said_join(x->said, event->data, chunk, &raw);
    size_t len = raw.len - strlen("data: ");
    buf_add_text(&raw, "\n\n");
    struct slice data = {raw.ptr + strlen("data: "), len};
    struct sse_event made = {
        .data = data, .raw = buf_slice(&raw), .retry_ms = -1, .has_data = true};
    if (data.len && chunk_read(data, &joined) == ERR_OK)
        pass(x, &made, &joined);
    buf_free(&raw);
}

void exchange_on_event(void *arg, const struct sse_event *event, const struct chunk *chunk)
{
    struct exchange *x = arg;

    if (x->failed)
        return;
    if (x->said && chunk)
        said_add(x->said, event->data, chunk);
    if (x->joined && chunk)
        pass_joined(x, event, chunk);
    else
        pass(x, event, chunk);
}

static void note_batch(struct exchange *x)
{
    if (x->world->out.len == 0)
        return;
    int64_t now_us = loop_now_us();
    if (x->flushed_us)
        tally_batch_add(&x->between, now_us - x->flushed_us);
    x->flushed_us = now_us;
    if (x->transcript)
        transcript_stream(x->transcript, buf_slice(&x->world->out));
}

static void send_batch(struct exchange_world *world, struct client *client)
{
    if (world->out.len)
        client_stream_send(client, buf_slice(&world->out));
    buf_clear(&world->out);
}

static void flush(struct exchange *x)
{
    note_batch(x);
    send_batch(x->world, x->client);
}

/* [DONE], or an error, tells a client as well as the last chunk does that it may go on: the end
 * comes before either.  Gives the client. */
static struct client *finish_stream(struct exchange *x, const char *code)
{
    struct client *client = x->client;

    note_batch(x);
    exchange_finish(x, 200, code);
    send_batch(x->world, client);
    return client;
}

static bool ends_with(const struct buf *out, const struct buf *last)
{
    return out->len >= last->len &&
           memcmp(out->ptr + out->len - last->len, last->ptr, last->len) == 0;
}

/* Filters see the last event too, so that what they held back is not lost; the client gets
 * it whatever they make of it. */
static void add_last_event(struct exchange *x, const struct buf *json)
{
    struct buf *out = &x->world->out, raw = {0};
    struct sse_event event = {.data = buf_slice(json), .retry_ms = -1, .has_data = true};
    struct chunk chunk;

    buf_add_text(&raw, "data: ");
    buf_add(&raw, buf_slice(json));
    buf_add_text(&raw, "\n\n");
    event.raw = buf_slice(&raw);
    bool may_filter = policy_has_filters(x->policy) && !x->failed && !x->filtering;
    if (may_filter && !chunk_read(event.data, &chunk)) {
        size_t before = out->len;
        if (policy_filter_event(x->policy, &event, &chunk, out) != POLICY_FILTERED)
            out->len = before; /* nothing waits any more */
    }
    if (!ends_with(out, &raw))
        buf_add(out, buf_slice(&raw));
    buf_free(&raw);
}

/* The client learns that the stream is not whole: one error event, no [DONE], a cut. */
void exchange_break(struct exchange *x, const char *code, const char *message)
{
    struct answer_error error = {.type = "server_error", .code = code, .message = message};
    struct buf json = {0};

    answer_error_json(&error, &json);
    add_last_event(x, &json);
    buf_free(&json);
    client_stream_abort(finish_stream(x, code));
}

void exchange_on_flush(void *arg)
{
    struct exchange *x = arg;

    if (x->failed) {
        exchange_break(x, policy_code(x->policy), policy_sentence(x->policy));
        return;
    }
    flush(x);
    if (client_stream_queued(x->client) > QUEUE_HIGH)
        attempt_pause(x->attempt);
}

/* ---- a stream that goes on with another target ---- */

/* What was on its way in the broken one's place is over; it is told as if nobody had tried. */
void exchange_give_up(struct exchange *x, const char *code, const char *message)
{
    exchange_end_race(x);
    exchange_drop(x, x->attempt);
    x->attempt = x->broken;
    x->broken = NULL;
    x->committed = true;
    fetch_free(x->fetch);
    x->fetch = NULL;
    event_del(&x->timer);
    exchange_break(x, code, message);
}

/* The policy has looked for who goes on. */
void exchange_join(struct exchange *x, const struct policy_result *result)
{
    if (result->kind != POLICY_RESPONSE) {
        exchange_give_up(x, x->wrong.code, x->wrong.message);
        return;
    }
    struct chunk_usage usage = attempt_usage(x->broken);
    chunk_usage_add(&x->spent, &usage);
    exchange_drop(x, x->broken);
    x->broken = NULL;
    x->committed = x->joined = true;
    exchange_set_state(x, STREAMING);
    attempt_stream(x->attempt); /* may finish x */
}

static void on_broken(struct exchange *x, const struct attempt_fault *fault)
{
    struct policy_outcome outcome = exchange_judge(x, x->attempt, fault);
    charge_fail(x->world->limits, x->generation, x->attempt, fault, &outcome);
    struct buf said = {0};
    const char *code = fault->fault == ERR_TIMEOUT ? "stream_timeout"
                       : fault->fault              ? "stream_truncated"
                                                   : outcome.code;

    trail_break(&x->trail, x->request.id, x->attempt, outcome.message);
    snprintf(x->wrong.code, sizeof x->wrong.code, "%s", code);
    snprintf(x->wrong.message, sizeof x->wrong.message, "%s", outcome.message);
    if (x->said && policy_may_go_on(x->policy) && said_may_go_on(x->said, &said)) {
        flush(x);
        x->broken = x->attempt;
        x->attempt = NULL;
        x->committed = false;
        exchange_set_state(x, DECIDING);
        policy_go_on(x->policy, buf_slice(&said)); /* may finish x */
    } else {
        exchange_break(x, x->wrong.code, x->wrong.message);
    }
    buf_free(&said);
}

void exchange_on_end(void *arg, const struct attempt_fault *fault)
{
    struct exchange *x = arg;

    if (x->failed) {
        exchange_on_flush(x);
        return;
    }
    if (fault) {
        on_broken(x, fault);
        return;
    }
    client_stream_end(finish_stream(x, "ok"));
}

/* The filter that waited goes on. */
void exchange_resume_filter(struct exchange *x)
{
    struct buf *out = &x->world->out;
    size_t before = out->len;

    if (x->state != STREAMING) {
        exchange_settle_plain(x, policy_filter_resume(x->policy, &x->waiting));
        return;
    }
    enum policy_filtered filtered = policy_filter_resume(x->policy, out);
    x->filtering = filtered == POLICY_FILTER_WAITS;
    if (x->filtering)
        return;
    settle_event(x, filtered, buf_slice(&x->waiting), x->hides, before);
    if (x->unended && out->len > before)
        buf_add_text(out, "\n\n");
    if (x->failed)
        exchange_on_flush(x);
    else
        attempt_stream(x->attempt); /* flushes; may finish x */
}

void exchange_on_drained(void *arg)
{
    struct exchange *x = arg;

    if (x->state == STREAMING)
        attempt_resume(x->attempt);
}
