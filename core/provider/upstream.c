/* upstream.c -- HTTP/1.1 with providers, over connections that are kept.
 *
 * A transfer writes its request as soon as it has a connection, in one call
 * where the socket takes it all, and feeds what comes to http1.  That only
 * notes; handlers are called afterwards, from a clean context in which they may
 * start, cancel and pause as they like:
 *
 *   on_ready -> take_in -> [http1_feed] -> transfer_note ... upstream_deliver -> tell
 *
 * Connections that end well are kept at their peer (scheme, host and port) and
 * used again, the latest first. */
/* SPDX-License-Identifier: MIT */
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "origin.h"
#include "peer.h"
#include "upstream_own.h"
#include <stdlib.h>

enum { LINGER_US = 1000 * 1000 }; /* for an answer that nobody needs */

/* ---- telling the owner ---- */

void transfer_note(struct transfer *transfer)
{
    if (transfer->dirty || transfer->state == TRANSFER_RELEASED)
        return;
    transfer->dirty = true;
    TAILQ_INSERT_TAIL(&transfer->upstream->told, transfer, tell);
}

/* For what is noted outside our own turns. */
static void note_later(struct transfer *transfer)
{
    transfer_note(transfer);
    if (!transfer->upstream->delivering)
        event_active(&transfer->upstream->deliver_soon, EV_TIMEOUT, 0);
}

const char *upstream_sentence(enum err err)
{
    switch (err) {
    case ERR_TRUNCATED: return "the answer was cut short";
    case ERR_RESET: return "the connection was closed without an answer";
    case ERR_BAD_RESPONSE: return "the answer is not sound HTTP";
    default: return connection_sentence(err);
    }
}

/* One thing at a time: a callback may end the transfer.  What is left to tell
 * is noted before, so that it is found again, or dropped with the transfer. */
static void tell(struct transfer *transfer)
{
    const struct upstream_handler *handler = transfer->handler;
    bool waits = transfer->in.len && transfer->has_new;

    if (transfer->open_us >= 0 && !transfer->open_told) {
        transfer->open_told = true;
        if (transfer->http1.head_done || transfer->done)
            transfer_note(transfer);
        handler->on_open(transfer->arg, transfer->open_us);
    } else if (transfer->http1.head_done && !transfer->head_told) {
        transfer->head_told = true;
        if (waits || transfer->done)
            transfer_note(transfer);
        handler->on_head(transfer->arg, transfer->http1.status);
    } else if (waits && transfer->reading) {
        transfer->has_new = false;
        if (transfer->done)
            transfer_note(transfer);
        transfer_resume_later(transfer);
        handler->on_bytes(transfer->arg, &transfer->in);
    } else if (transfer->done && !waits && !transfer->done_told) {
        transfer->done_told = true;
        handler->on_done(transfer->arg, transfer->err, transfer->detail);
    }
}

void upstream_deliver(struct upstream *upstream)
{
    struct transfer *transfer;

    if (upstream->delivering)
        return;
    upstream->delivering = true;
    while ((transfer = TAILQ_FIRST(&upstream->told))) {
        TAILQ_REMOVE(&upstream->told, transfer, tell);
        transfer->dirty = false;
        tell(transfer);
    }
    upstream->delivering = false;
}

static void on_deliver(evutil_socket_t fd, short what, void *arg)
{
    upstream_deliver(arg);
}

/* ---- the life of a transfer ---- */

static void write_head(struct transfer *transfer, const struct upstream_request *request)
{
    struct buf *out = &transfer->out;
    struct slice head =
        origin_head(request->origin, request->method ? request->method : "POST", request->path);

    buf_reserve(out, head.len + 512); /* seldom grows: it may hold a credential */
    buf_add(out, head);
    for (size_t i = 0; i < request->header_count; i++) {
        buf_add_text(out, request->headers[i].name);
        buf_add(out, SLICE(": "));
        buf_add_text(out, request->headers[i].value);
        buf_add(out, SLICE("\r\n"));
    }
    buf_add(out, SLICE("Content-Length: "));
    buf_add_number(out, transfer->body.len);
    buf_add(out, SLICE("\r\n\r\n"));
}

struct transfer *upstream_start(struct upstream *upstream, const struct upstream_request *request,
                                const struct upstream_handler *handler, void *arg)
{
    struct transfer *transfer = mem_new(sizeof *transfer);
    struct origin *origin = request->origin;

    transfer->upstream = upstream;
    transfer->origin = origin_use(origin);
    transfer->handler = handler;
    transfer->arg = arg;
    transfer->open_us = -1;
    transfer->started_us = loop_now_us();
    transfer->body = *request->body;
    *request->body = (struct buf){0};
    write_head(transfer, request);
    upstream->active++;
    TAILQ_INSERT_TAIL(&upstream->live, transfer, link);

    transfer->connection = peer_take(origin_peer(origin, upstream->peers), transfer->started_us);
    if (transfer->connection) {
        transfer->reused = true;
        connection_give(transfer->connection, &transfer_owner, transfer);
        transfer_opened(transfer);
        note_later(transfer);
    } else {
        transfer->connection =
            connection_new(upstream->connections, origin_name(origin),
                           origin_is_public_only(origin), &transfer_owner, transfer);
    }
    return transfer;
}

void transfer_free(struct transfer *transfer)
{
    struct upstream *upstream = transfer->upstream;

    transfer_let_go(transfer);
    connection_free(transfer->connection);
    if (transfer->dirty)
        TAILQ_REMOVE(&upstream->told, transfer, tell);
    if (transfer->state == TRANSFER_RELEASED)
        TAILQ_REMOVE(&upstream->released, transfer, link);
    else
        TAILQ_REMOVE(&upstream->live, transfer, link);
    upstream->active--;
    origin_free(transfer->origin);
    origin_wipe(&transfer->out);
    http1_free(&transfer->http1);
    buf_free(&transfer->body);
    buf_free(&transfer->in);
    mem_free(transfer);
}

void upstream_read(struct transfer *transfer)
{
    if (transfer->reading)
        return;
    transfer->reading = true;
    if (transfer->in.len)
        transfer->has_new = true;
    if (transfer->in.len || transfer->done)
        note_later(transfer);
    transfer_resume_later(transfer);
}

void upstream_pause(struct transfer *transfer)
{
    transfer->reading = false;
}

void upstream_cancel(struct transfer *transfer)
{
    if (transfer)
        transfer_free(transfer);
}

void upstream_release(struct transfer *transfer)
{
    struct upstream *upstream = transfer->upstream;
    struct timeval wait = {0, LINGER_US / 4};

    if (transfer->done || transfer->held || !transfer->http1.head_done) {
        transfer_free(transfer);
        return;
    }
    if (transfer->dirty)
        TAILQ_REMOVE(&upstream->told, transfer, tell);
    transfer->dirty = false;
    TAILQ_REMOVE(&upstream->live, transfer, link);
    transfer->state = TRANSFER_RELEASED;
    transfer->release_us = loop_now_us();
    TAILQ_INSERT_TAIL(&upstream->released, transfer, link);
    if (!event_pending(&upstream->linger, EV_TIMEOUT, NULL))
        event_add(&upstream->linger, &wait);
}

static void on_linger(evutil_socket_t fd, short what, void *arg)
{
    struct upstream *upstream = arg;
    int64_t before = loop_now_us() - LINGER_US;
    struct transfer *transfer;

    while ((transfer = TAILQ_FIRST(&upstream->released)) && transfer->release_us < before)
        transfer_free(transfer);
    struct timeval wait = {0, LINGER_US / 4};
    if (transfer)
        event_add(&upstream->linger, &wait);
}

/* ---- the head ---- */

bool upstream_next_header(const struct transfer *transfer, size_t *at, struct slice *name,
                          struct slice *value)
{
    return http1_next_header(&transfer->http1, at, name, value);
}

struct slice upstream_header(const struct transfer *transfer, const char *wanted)
{
    struct slice name, value;
    size_t at = 0;

    while (http1_next_header(&transfer->http1, &at, &name, &value))
        if (slice_is(name, wanted))
            return value;
    return (struct slice){NULL, 0};
}

void upstream_slim(struct transfer *transfer)
{
    buf_free(&transfer->http1.head);
    if (transfer->open_us < 0 || !transfer_is_sent(transfer))
        return;
    origin_wipe(&transfer->out);
    buf_free(&transfer->body);
    transfer->sent = 0;
}

bool upstream_was_sent(const struct transfer *transfer)
{
    return transfer->open_us >= 0;
}

/* ---- the whole ---- */

struct upstream *upstream_new(struct event_base *base)
{
    struct upstream *upstream = mem_new(sizeof *upstream);

    upstream->connections = connections_new(base);
    upstream->peers = peers_new(base);
    TAILQ_INIT(&upstream->told);
    TAILQ_INIT(&upstream->live);
    TAILQ_INIT(&upstream->released);
    TAILQ_INIT(&upstream->held);
    event_assign(&upstream->resume, base, -1, 0, upstream_on_resume, upstream);
    event_assign(&upstream->deliver_soon, base, -1, 0, on_deliver, upstream);
    event_assign(&upstream->linger, base, -1, 0, on_linger, upstream);
    return upstream;
}

void upstream_free(struct upstream *upstream)
{
    struct transfer *transfer;

    while ((transfer = TAILQ_FIRST(&upstream->live)))
        transfer_free(transfer);
    while ((transfer = TAILQ_FIRST(&upstream->released)))
        transfer_free(transfer);
    event_del(&upstream->deliver_soon);
    event_del(&upstream->linger);
    event_del(&upstream->resume);
    peers_free(upstream->peers);
    connections_free(upstream->connections);
    mem_free(upstream);
}

size_t upstream_active(const struct upstream *upstream)
{
    return upstream->active;
}
