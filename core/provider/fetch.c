/* fetch.c -- a transfer whose whole answer is kept, with one clock. */
/* SPDX-License-Identifier: MIT */
#include "fetch.h"
#include "leaves/mem.h"
#include "origin.h"
#include "upstream.h"
#include <event2/event.h>
#include <event2/event_struct.h>

struct fetch {
    struct transfer *transfer;
    void (*on_done)(void *arg);
    void *arg;
    struct event timer;
    char *path;
    struct buf body;
    size_t max;
    int status;
    enum err err;
    const char *message;
    bool done;
};

static void finish(struct fetch *fetch, enum err err, const char *message)
{
    event_del(&fetch->timer);
    if (err) { /* nobody waits for more, while the policy may go on for long */
        upstream_cancel(fetch->transfer);
        fetch->transfer = NULL;
    }
    fetch->done = true;
    fetch->err = err;
    fetch->message = message;
    fetch->on_done(fetch->arg);
}

static void on_open(void *arg, int64_t us)
{
}

static void on_head(void *arg, int status)
{
    struct fetch *fetch = arg;

    fetch->status = status;
    upstream_read(fetch->transfer);
}

static void on_bytes(void *arg, struct buf *bytes)
{
    struct fetch *fetch = arg;

    if (fetch->body.len + bytes->len > fetch->max) {
        finish(fetch, ERR_TOO_LARGE, "the answer is larger than max");
        return;
    }
    buf_add(&fetch->body, buf_slice(bytes));
    buf_drop(bytes, bytes->len);
}

static void on_done(void *arg, enum err err, const char *detail)
{
    struct fetch *fetch = arg;

    finish(fetch, err, detail);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct fetch *fetch = arg;

    finish(fetch, ERR_TIMEOUT, "no whole answer came in time");
}

static const struct upstream_handler handler = {on_open, on_head, on_bytes, on_done};

struct fetch *fetch_start(struct event_base *base, struct upstream *upstream,
                          const struct fetch_request *request, void (*done)(void *arg), void *arg)
{
    struct origin *origin =
        origin_bare(request->base, request->headers, request->header_count, request->public_only);
    struct buf body = {0};

    if (!origin)
        return NULL;
    struct fetch *fetch = mem_new(sizeof *fetch);
    fetch->on_done = done;
    fetch->arg = arg;
    fetch->max = request->max;
    fetch->path = mem_dup(slice_of(request->path));
    buf_add(&body, request->body);
    struct upstream_request ask = {
        .origin = origin, .method = request->method, .path = fetch->path, .body = &body};
    fetch->transfer = upstream_start(upstream, &ask, &handler, fetch);
    origin_free(origin); /* the transfer keeps it */
    struct timeval wait = {request->timeout_ms / 1000, request->timeout_ms % 1000 * 1000};
    event_assign(&fetch->timer, base, -1, 0, on_timer, fetch);
    event_add(&fetch->timer, &wait);
    return fetch;
}

struct fetch_result fetch_result(const struct fetch *fetch)
{
    return (struct fetch_result){fetch->err, fetch->message, fetch->status, buf_slice(&fetch->body),
                                 fetch->status ? fetch->transfer : NULL};
}

void fetch_free(struct fetch *fetch)
{
    if (!fetch)
        return;
    event_del(&fetch->timer);
    upstream_cancel(fetch->transfer);
    explicit_bzero(fetch->path, strlen(fetch->path)); /* a webhook's may be a secret */
    mem_free(fetch->path);
    buf_free(&fetch->body);
    mem_free(fetch);
}
