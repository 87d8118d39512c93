/* upstream.c -- HTTP/1.1 with providers, over connections that are kept.
 *
 * A transfer writes its request as soon as it has a connection, in one call
 * where the socket takes it all, and feeds what comes to http1.  That only
 * notes; handlers are called afterwards, from a clean context in which they may
 * start, cancel and pause as they like:
 *
 *   on_ready -> take_in -> [http1_feed] -> note ... deliver -> tell
 *
 * Connections that end well are kept at their peer (scheme, host and port) and
 * used again, the latest first. */
/* SPDX-License-Identifier: MIT */
#include "upstream.h"
#include "connection.h"
#include "http1.h"
#include "loop.h"
#include "mem.h"
#include "origin.h"
#include "peer.h"
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <sys/queue.h>

enum {
    UNREAD_MAX = 64 * 1024,  /* bytes held before anybody reads, and taken in one turn */
    READ_SIZE = 64 * 1024,   /* bytes asked for at once */
    LINGER_US = 1000 * 1000, /* for an answer that nobody needs */
    READS_MAX = 4,           /* in one turn, of one connection */
    JOINED_MAX = 16 * 1024,  /* a body up to this goes with its head into one TLS record */
};

enum transfer_state {
    TRANSFER_LIVE,     /* somebody listens */
    TRANSFER_RELEASED, /* nobody listens; it may end by itself */
};

struct transfer {
    struct upstream *upstream;
    struct origin *origin;
    struct connection *connection; /* NULL once the answer is whole, or will never be */
    const struct upstream_handler *handler;
    void *arg;
    struct buf out;  /* the request's head, with the credential */
    struct buf body; /* of the request */
    size_t sent;     /* bytes of out and body that left */
    struct http1 http1;
    struct buf in; /* body bytes that nobody took yet */
    int64_t started_us;
    int64_t release_us; /* when nobody wanted it any more */
    int64_t open_us;    /* how long connecting took; -1: is not connected */
    enum err err;
    const char *detail;
    enum transfer_state state;
    bool head_told, open_told, done_told;
    bool reused; /* the connection served another before */
    bool cannot_send;
    bool is_long;  /* the body: a kernel may hold much of it */
    bool is_early; /* bytes came before the request was whole */
    bool reading;  /* the owner wants bytes */
    bool held;     /* the connection is not read from */
    bool has_new;  /* bytes came since on_bytes was last called */
    bool done;     /* err counts */
    bool dirty;    /* is on the list of those with something to tell */
    TAILQ_ENTRY(transfer) tell;
    TAILQ_ENTRY(transfer) wait; /* among the held */
    TAILQ_ENTRY(transfer) link; /* among the live, or among the released */
};

TAILQ_HEAD(transfer_list, transfer);

struct upstream {
    struct connections *connections;
    struct peers *peers;
    struct transfer_list told; /* with something to tell */
    struct transfer_list live;
    struct transfer_list released; /* oldest first */
    struct transfer_list held;
    size_t active;
    struct event resume;       /* for the held, on a later turn */
    struct event deliver_soon; /* after calls from outside our own turns */
    struct event linger;
    bool delivering;
    char bytes[READ_SIZE]; /* what one read brought; used up before the next */
};

static void note(struct transfer *transfer);
static void let_go(struct transfer *transfer);
static void deliver(struct upstream *upstream);
static void resume_later(struct transfer *transfer);
static void transfer_free(struct transfer *transfer);

/* ---- sending ---- */

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

static bool is_sent(const struct transfer *transfer)
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
    while (!is_sent(transfer) && !transfer->cannot_send) {
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
                        !is_sent(transfer) && !transfer->cannot_send);
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

static void opened(struct transfer *transfer)
{
    transfer->open_us = transfer->reused ? 0 : loop_now_us() - transfer->started_us;
    transfer->is_long = transfer->body.len > JOINED_MAX;
    if (connection_buffers(transfer->connection) && !transfer->is_long)
        join(transfer);
    send_more(transfer);
    want(transfer);
    note(transfer);
}

/* ---- taking in ---- */

/* Who answers what was not read whole may never read the rest, and takes the next request's bytes
 * for this one's. */
static bool is_taken(const struct transfer *transfer)
{
    return is_sent(transfer) && !transfer->is_early &&
           (!transfer->is_long || connection_is_flushed(transfer->connection));
}

/* The answer is whole, or will not be.  A connection that can carry another request is kept. */
static void finish(struct transfer *transfer, enum err err, const char *detail)
{
    let_go(transfer);
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
        note(transfer);
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
    transfer->is_early = transfer->is_early || !is_sent(transfer);
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
    note(transfer);
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
    resume_later(transfer);
}

static void let_go(struct transfer *transfer)
{
    if (!transfer->held)
        return;
    transfer->held = false;
    TAILQ_REMOVE(&transfer->upstream->held, transfer, wait);
}

static void resume_later(struct transfer *transfer)
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

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct upstream *upstream = arg;
    struct transfer *transfer, *next, *last = TAILQ_LAST(&upstream->held, transfer_list);
    bool is_last = last == NULL;

    for (transfer = TAILQ_FIRST(&upstream->held); !is_last; transfer = next) {
        next = TAILQ_NEXT(transfer, wait);
        is_last = transfer == last; /* those behind were held again just now */
        if (!may_read(transfer) || transfer->in.len >= UNREAD_MAX)
            continue;
        let_go(transfer);
        want(transfer);
        take_all(transfer); /* may free it */
    }
    deliver(upstream);
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
    deliver(upstream);
}

static void on_open(void *arg)
{
    struct transfer *transfer = arg;

    opened(transfer);
    deliver(transfer->upstream);
}

static void on_fail(void *arg, enum err err, const char *detail)
{
    struct transfer *transfer = arg;
    struct upstream *upstream = transfer->upstream;

    finish(transfer, err, detail);
    deliver(upstream);
}

static const struct connection_owner transfer_owner = {on_open, on_fail, on_ready};

/* ---- telling the owner ---- */

static void note(struct transfer *transfer)
{
    if (transfer->dirty || transfer->state == TRANSFER_RELEASED)
        return;
    transfer->dirty = true;
    TAILQ_INSERT_TAIL(&transfer->upstream->told, transfer, tell);
}

/* For what is noted outside our own turns. */
static void note_later(struct transfer *transfer)
{
    note(transfer);
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
            note(transfer);
        handler->on_open(transfer->arg, transfer->open_us);
    } else if (transfer->http1.head_done && !transfer->head_told) {
        transfer->head_told = true;
        if (waits || transfer->done)
            note(transfer);
        handler->on_head(transfer->arg, transfer->http1.status);
    } else if (waits && transfer->reading) {
        transfer->has_new = false;
        if (transfer->done)
            note(transfer);
        resume_later(transfer);
        handler->on_bytes(transfer->arg, &transfer->in);
    } else if (transfer->done && !waits && !transfer->done_told) {
        transfer->done_told = true;
        handler->on_done(transfer->arg, transfer->err, transfer->detail);
    }
}

static void deliver(struct upstream *upstream)
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
    deliver(arg);
}

/* ---- the life of a transfer ---- */

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
        opened(transfer);
        note_later(transfer);
    } else {
        transfer->connection =
            connection_new(upstream->connections, origin_name(origin),
                           origin_is_public_only(origin), &transfer_owner, transfer);
    }
    return transfer;
}

static void transfer_free(struct transfer *transfer)
{
    struct upstream *upstream = transfer->upstream;

    let_go(transfer);
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
    resume_later(transfer);
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
    if (transfer->open_us < 0 || !is_sent(transfer))
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
    event_assign(&upstream->resume, base, -1, 0, on_resume, upstream);
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
