/* sim_upstream.c -- upstream.h, from steps instead of sockets.
 *
 * on_ask -> OPEN -> HEAD -> BYTES … -> END, each after its time; a fault is an END too soon, and
 * silence a list without one.  As in upstream.c bytes wait until somebody reads, the end waits
 * behind them, and one thing is told at a time, with nothing after it. */
/* SPDX-License-Identifier: MIT */
#include "sim_upstream.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "provider/origin.h"
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

struct origin {
    unsigned users;
    const struct provider *provider; /* NULL: of a fetch */
    char *base;
    struct buf headers; /* lines "name: value\n" */
};

struct transfer {
    struct upstream *upstream;
    struct origin *origin;
    const char *method, *path;
    const struct upstream_handler *handler;
    void *arg;
    struct buf body, headers; /* of the request */
    struct buf head, in;      /* of the answer: its header lines, and bytes nobody took yet */
    struct sim_step *steps;
    size_t step_count, at;
    struct event step;    /* asking, then the next step */
    struct event deliver; /* bytes, or the end, that may be told now */
    int64_t started_us;
    bool reading, has_new, done, done_told;
    enum err err; /* how it was done */
    bool was_connected;
    LIST_ENTRY(transfer) link;
};

struct upstream {
    sim_on_ask *on_ask;
    void *arg;
    LIST_HEAD(, transfer) live;
};

struct upstream *sim_upstream_new(sim_on_ask *on_ask, void *arg)
{
    struct upstream *upstream = mem_new(sizeof *upstream);

    upstream->on_ask = on_ask;
    upstream->arg = arg;
    LIST_INIT(&upstream->live);
    return upstream;
}

void sim_upstream_free(struct upstream *upstream)
{
    while (!LIST_EMPTY(&upstream->live))
        upstream_cancel(LIST_FIRST(&upstream->live));
    mem_free(upstream);
}

struct origin *sim_origin_new(const struct provider *provider)
{
    struct origin *origin = mem_new(sizeof *origin);

    origin->users = 1;
    origin->provider = provider;
    return origin;
}

struct origin *origin_bare(const char *base, const char *const *headers, size_t count,
                           bool public_only)
{
    struct origin *origin = sim_origin_new(NULL);

    origin->base = mem_dup(slice_of(base));
    for (size_t i = 0; i < count; i++)
        buf_add_format(&origin->headers, "%s\n", headers[i]);
    return origin;
}

void origin_free(struct origin *origin)
{
    if (--origin->users)
        return;
    mem_free(origin->base);
    buf_free(&origin->headers);
    mem_free(origin);
}

/* ---- playing ---- */

static void wait_for(struct event *event, int64_t us)
{
    struct timeval wait = {us / 1000000, us % 1000000};
    event_add(event, &wait);
}

static void on_deliver(evutil_socket_t fd, short what, void *arg)
{
    struct transfer *transfer = arg;

    if (transfer->has_new && transfer->reading) {
        transfer->has_new = false;
        if (transfer->done)
            wait_for(&transfer->deliver, 0);
        transfer->handler->on_bytes(transfer->arg, &transfer->in);
    } else if (transfer->done && !transfer->has_new && !transfer->done_told) {
        bool was_reset = transfer->err == ERR_RESET && transfer->was_connected;
        transfer->done_told = true;
        transfer->handler->on_done(transfer->arg, transfer->err,
                                   was_reset ? "the connection was reset"
                                             : upstream_sentence(transfer->err));
    }
}

static void play(struct transfer *transfer, struct sim_step *step)
{
    switch (step->kind) {
    case SIM_OPEN:
        transfer->handler->on_open(transfer->arg, loop_now_us() - transfer->started_us);
        return;
    case SIM_HEAD:
        buf_add(&transfer->head, buf_slice(&step->bytes));
        transfer->handler->on_head(transfer->arg, step->status);
        return;
    case SIM_BYTES:
        buf_add(&transfer->in, buf_slice(&step->bytes));
        transfer->has_new = true;
        on_deliver(-1, 0, transfer);
        return;
    case SIM_END:
        transfer->done = true;
        transfer->err = step->err;
        transfer->was_connected = step->is_connected;
        on_deliver(-1, 0, transfer);
        return;
    }
}

static void on_step(evutil_socket_t fd, short what, void *arg)
{
    struct transfer *transfer = arg;
    struct sim_step *step = &transfer->steps[transfer->at++];

    if (transfer->at < transfer->step_count)
        wait_for(&transfer->step, transfer->steps[transfer->at].after_us);
    play(transfer, step); /* may end it */
}

static void on_asked(evutil_socket_t fd, short what, void *arg)
{
    struct transfer *transfer = arg;

    transfer->upstream->on_ask(transfer->upstream->arg, transfer);
    event_assign(&transfer->step, NULL, -1, 0, on_step, transfer);
    if (transfer->step_count)
        wait_for(&transfer->step, transfer->steps[0].after_us);
}

void sim_transfer_add(struct transfer *transfer, const struct sim_step *step)
{
    size_t size = (transfer->step_count + 1) * sizeof *transfer->steps;

    transfer->steps = mem_resize(transfer->steps, size);
    transfer->steps[transfer->step_count++] = *step;
}

const struct provider *sim_transfer_provider(const struct transfer *transfer)
{
    return transfer->origin->provider;
}

const char *sim_transfer_base(const struct transfer *transfer)
{
    return transfer->origin->base;
}

const char *sim_transfer_method(const struct transfer *transfer)
{
    return transfer->method;
}

const char *sim_transfer_path(const struct transfer *transfer)
{
    return transfer->path;
}

struct slice sim_transfer_body(const struct transfer *transfer)
{
    return buf_slice(&transfer->body);
}

struct slice sim_transfer_headers(const struct transfer *transfer)
{
    return buf_slice(&transfer->headers);
}

void *sim_transfer_owner(const struct transfer *transfer)
{
    return transfer->arg;
}

/* ---- upstream.h ---- */

struct transfer *upstream_start(struct upstream *upstream, const struct upstream_request *request,
                                const struct upstream_handler *handler, void *arg)
{
    struct transfer *transfer = mem_new(sizeof *transfer);

    transfer->upstream = upstream;
    transfer->origin = request->origin;
    transfer->origin->users++;
    transfer->method = request->method;
    transfer->path = request->path;
    transfer->handler = handler;
    transfer->arg = arg;
    transfer->started_us = loop_now_us();
    transfer->body = *request->body;
    *request->body = (struct buf){0};
    buf_add(&transfer->headers, buf_slice(&request->origin->headers));
    for (size_t i = 0; i < request->header_count; i++)
        buf_add_format(&transfer->headers, "%s: %s\n", request->headers[i].name,
                       request->headers[i].value);
    LIST_INSERT_HEAD(&upstream->live, transfer, link);
    event_assign(&transfer->deliver, NULL, -1, 0, on_deliver, transfer);
    event_assign(&transfer->step, NULL, -1, 0, on_asked, transfer);
    wait_for(&transfer->step, 0);
    return transfer;
}

bool upstream_next_header(const struct transfer *transfer, size_t *at, struct slice *name,
                          struct slice *value)
{
    const char *line = transfer->head.ptr + *at;
    size_t left = transfer->head.len - *at;
    const char *end = left ? memchr(line, '\n', left) : NULL;
    const char *colon = end ? memchr(line, ':', (size_t)(end - line)) : NULL;

    if (!colon)
        return false;
    *name = (struct slice){line, (size_t)(colon - line)};
    *value = (struct slice){colon + 2, (size_t)(end - colon - 2)};
    *at += (size_t)(end - line) + 1;
    return true;
}

struct slice upstream_header(const struct transfer *transfer, const char *name)
{
    struct slice found, value;
    size_t at = 0;

    while (upstream_next_header(transfer, &at, &found, &value))
        if (slice_is(found, name))
            return value;
    return (struct slice){0};
}

void upstream_slim(struct transfer *transfer)
{
    buf_free(&transfer->head);
}

void upstream_read(struct transfer *transfer)
{
    transfer->reading = true;
    if (transfer->has_new || transfer->done)
        wait_for(&transfer->deliver, 0);
}

void upstream_pause(struct transfer *transfer)
{
    transfer->reading = false;
}

void upstream_cancel(struct transfer *transfer)
{
    if (!transfer)
        return;
    event_del(&transfer->step);
    event_del(&transfer->deliver);
    LIST_REMOVE(transfer, link);
    for (size_t i = 0; i < transfer->step_count; i++)
        buf_free(&transfer->steps[i].bytes);
    mem_free(transfer->steps);
    origin_free(transfer->origin);
    buf_free(&transfer->body);
    buf_free(&transfer->headers);
    buf_free(&transfer->head);
    buf_free(&transfer->in);
    mem_free(transfer);
}

void upstream_release(struct transfer *transfer)
{
    upstream_cancel(transfer);
}
