/* upstream_flow.c -- a transfer's bytes: the request's out, the answer's in, held back while nobody
 * reads. */
/* SPDX-License-Identifier: MIT */
#include "leaves/loop.h"
#include "origin.h"
#include "peer.h"
#include "upstream_own.h"
#include <errno.h>

enum {
    UNREAD_MAX = 64 * 1024, /* bytes held before anybody reads, and taken in one turn */
    READS_MAX = 4,          /* in one turn, of one connection */
    JOINED_MAX = 16 * 1024, /* a body up to this goes with its head into one TLS record */
};

/* ---- sending ---- */

bool transfer_is_sent(const struct transfer *transfer)
{
    return transfer->sent == transfer->out.len + transfer->body.len;
}

static struct slice rest(const struct buf *buf, size_t skip)
{
    return skip < buf->len ? (struct slice){buf->ptr + skip, buf->len - skip} : (struct slice){0};
}

/* A provider may answer and close before it has read everything; so a failure here is none yet:
 * what can be read decides. */
static void send_more(struct transfer *transfer)
{
    while (!transfer_is_sent(transfer) && !transfer->cannot_send) {
        size_t head = transfer->out.len;
        size_t of_body = transfer->sent > head ? transfer->sent - head : 0;
        ssize_t count = connection_write(transfer->connection, rest(&transfer->out, transfer->sent),
                                         rest(&transfer->body, of_body));
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0 && errno == EAGAIN)
            return;
        if (count < 0)
            transfer->cannot_send = true;
        else
            transfer->sent += (size_t)count;
    }
}

static void want(struct transfer *transfer)
{
    if (transfer->connection)
        connection_want(transfer->connection, !transfer->held,
                        !transfer_is_sent(transfer) && !transfer->cannot_send);
}

/* A head that grew would leave its credential behind. */
static void join(struct transfer *transfer)
{
    struct buf all = {0};

    buf_reserve(&all, transfer->out.len + transfer->body.len);
    buf_add(&all, buf_slice(&transfer->out));
    buf_add(&all, buf_slice(&transfer->body));
    origin_wipe(&transfer->out);
    transfer->out = all;
    buf_clear(&transfer->body);
}

void transfer_opened(struct transfer *transfer)
{
    transfer->open_us = transfer->reused ? 0 : loop_now_us() - transfer->started_us;
    transfer->is_long = transfer->body.len > JOINED_MAX;
    if (connection_buffers(transfer->connection) && !transfer->is_long)
        join(transfer);
    send_more(transfer);
    want(transfer);
    transfer_note(transfer);
}

/* ---- taking in ---- */

/* Who answers what was not read whole may never read the rest, and takes the next request's bytes
 * for this one's. */
static bool is_taken(const struct transfer *transfer)
{
    return transfer_is_sent(transfer) && !transfer->is_early &&
           (!transfer->is_long || connection_is_flushed(transfer->connection));
}

/* The answer is whole, or will not be.  A connection that can carry another request is kept. */
static void finish(struct transfer *transfer, enum err err, const char *detail)
{
    transfer_let_go(transfer);
    if (err == ERR_OK && transfer->http1.keeps && is_taken(transfer))
        peer_keep(origin_peer(transfer->origin, transfer->upstream->peers), transfer->connection);
    else
        connection_free(transfer->connection);
    transfer->connection = NULL;
    transfer->err = err;
    transfer->detail = detail;
    transfer->done = true;
    if (transfer->state == TRANSFER_RELEASED)
        transfer_free(transfer);
    else
        transfer_note(transfer);
}

static void finish_closed(struct transfer *transfer, bool is_reset)
{
    const char *detail = "";
    enum err err = http1_finish(&transfer->http1, &detail);

    if (err == ERR_RESET && transfer->reused)
        detail = "a kept connection was closed without an answer";
    else if (is_reset)
        detail = "the connection was reset";
    else if (err == ERR_RESET && transfer->cannot_send)
        detail = "the connection broke while the request was sent";
    if (is_reset)
        err = ERR_RESET;
    finish(transfer, err, detail);
}

/* One read.  False: there is no more now, or the transfer is over or gone. */
static bool take_in(struct transfer *transfer)
{
    struct upstream *upstream = transfer->upstream;
    const char *detail = "";
    ssize_t count = connection_read(transfer->connection, upstream->bytes, READ_SIZE);

    if (count < 0 && errno == EINTR)
        return true;
    if (count < 0 && errno == EAGAIN)
        return false;
    if (count <= 0) {
        finish_closed(transfer, count < 0);
        return false;
    }
    transfer->is_early = transfer->is_early || !transfer_is_sent(transfer);
    size_t before = transfer->in.len;
    enum err err = http1_feed(&transfer->http1, (struct slice){upstream->bytes, (size_t)count},
                              &transfer->in, &detail);
    if (transfer->state == TRANSFER_RELEASED)
        buf_clear(&transfer->in);
    else if (transfer->in.len > before)
        transfer->has_new = true;
    if (err || transfer->http1.state == HTTP1_DONE) {
        finish(transfer, err, detail);
        return false;
    }
    transfer_note(transfer);
    return (size_t)count == READ_SIZE || connection_buffers(transfer->connection);
}

/* ---- holding back ---- */

/* Past the head, bytes wait in the kernel until somebody reads. */
static bool may_read(const struct transfer *transfer)
{
    return transfer->reading || !transfer->http1.head_done || transfer->state == TRANSFER_RELEASED;
}

static void hold(struct transfer *transfer)
{
    if (transfer->held)
        return;
    transfer->held = true;
    TAILQ_INSERT_TAIL(&transfer->upstream->held, transfer, wait);
    want(transfer);
    transfer_resume_later(transfer);
}

void transfer_let_go(struct transfer *transfer)
{
    if (!transfer->held)
        return;
    transfer->held = false;
    TAILQ_REMOVE(&transfer->upstream->held, transfer, wait);
}

void transfer_resume_later(struct transfer *transfer)
{
    struct timeval now = {0, 0}; /* a timer, so that the sockets are looked at before */

    if (transfer->held && may_read(transfer))
        event_add(&transfer->upstream->resume, &now);
}

/* A fast stream takes turns with the others.  What is left in the kernel wakes us again; what
 * TLS may have read ahead does not. */
static void take_all(struct transfer *transfer)
{
    if (!may_read(transfer) || transfer->in.len >= UNREAD_MAX) {
        hold(transfer);
        return;
    }
    for (int reads = 1; take_in(transfer); reads++) {
        if (reads < READS_MAX && transfer->in.len < UNREAD_MAX)
            continue;
        if (connection_buffers(transfer->connection))
            hold(transfer);
        return;
    }
}

void upstream_on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct upstream *upstream = arg;
    struct transfer *transfer, *next, *last = TAILQ_LAST(&upstream->held, transfer_list);
    bool is_last = last == NULL;

    for (transfer = TAILQ_FIRST(&upstream->held); !is_last; transfer = next) {
        next = TAILQ_NEXT(transfer, wait);
        is_last = transfer == last; /* those behind were held again just now */
        if (!may_read(transfer) || transfer->in.len >= UNREAD_MAX)
            continue;
        transfer_let_go(transfer);
        want(transfer);
        take_all(transfer); /* may free it */
    }
    upstream_deliver(upstream);
}

/* ---- what connections call ---- */

static void on_ready(void *arg, bool can_read, bool can_write)
{
    struct transfer *transfer = arg;
    struct upstream *upstream = transfer->upstream;

    if (can_write) {
        send_more(transfer);
        want(transfer);
    }
    if (can_read)
        take_all(transfer);
    upstream_deliver(upstream);
}

static void on_open(void *arg)
{
    struct transfer *transfer = arg;

    transfer_opened(transfer);
    upstream_deliver(transfer->upstream);
}

static void on_fail(void *arg, enum err err, const char *detail)
{
    struct transfer *transfer = arg;
    struct upstream *upstream = transfer->upstream;

    finish(transfer, err, detail);
    upstream_deliver(upstream);
}

const struct connection_owner transfer_owner = {on_open, on_fail, on_ready};
