/* sim_client.c -- client.h, for one request without a connection. */
/* SPDX-License-Identifier: MIT */
#include "sim_client.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include <assert.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdio.h>
#include <strings.h>

struct client {
    const struct client_owner *owner;
    void *arg;
    struct buf request;
    struct sim_header *headers;
    size_t header_count;
    struct buf head, body; /* what was sent to it */
    int status;
    int64_t started_us, first_us, last_us; /* -1: not yet */
    struct event leave;
    enum sim_client_state state;
    char id[32];
};

static void on_leave(evutil_socket_t fd, short what, void *arg)
{
    struct client *client = arg;

    if (sim_client_is_done(client))
        return;
    client->state = SIM_CLIENT_LEFT;
    client->last_us = loop_now_us();
    client->owner->on_gone(client->arg);
}

struct client *sim_client_new(const struct sim_client_new *made)
{
    static unsigned long serial;
    struct client *client = mem_new(sizeof *client);

    client->request = *made->body;
    *made->body = (struct buf){0};
    client->header_count = made->header_count;
    client->headers = mem_new(made->header_count * sizeof *client->headers);
    for (size_t i = 0; i < made->header_count; i++) {
        client->headers[i].name = mem_dup(slice_of(made->headers[i].name));
        client->headers[i].value = mem_dup(slice_of(made->headers[i].value));
    }
    client->started_us = loop_now_us();
    client->first_us = client->last_us = -1;
    snprintf(client->id, sizeof client->id, "sim-%lu", ++serial);
    event_assign(&client->leave, NULL, -1, 0, on_leave, client);
    if (made->leaves_us >= 0) {
        struct timeval wait = {made->leaves_us / 1000000, made->leaves_us % 1000000};
        event_add(&client->leave, &wait);
    }
    return client;
}

void sim_client_free(struct client *client)
{
    event_del(&client->leave);
    for (size_t i = 0; i < client->header_count; i++) {
        mem_free(client->headers[i].name);
        mem_free(client->headers[i].value);
    }
    mem_free(client->headers);
    buf_free(&client->request);
    buf_free(&client->head);
    buf_free(&client->body);
    mem_free(client);
}

bool sim_client_is_done(const struct client *client)
{
    return client->state != SIM_CLIENT_WAITS && client->state != SIM_CLIENT_STREAMS;
}

static int64_t since(const struct client *client, int64_t at_us)
{
    return at_us < 0 ? -1 : at_us - client->started_us;
}

struct sim_client_seen sim_client_seen(const struct client *client)
{
    return (struct sim_client_seen){
        .state = client->state,
        .status = client->status,
        .headers = buf_slice(&client->head),
        .body = buf_slice(&client->body),
        .first_us = since(client, client->first_us),
        .last_us = since(client, client->last_us),
    };
}

/* ---- client.h ---- */

const char *client_id(const struct client *client)
{
    return client->id;
}

struct slice client_header(const struct client *client, const char *name)
{
    for (size_t i = 0; i < client->header_count; i++)
        if (strcasecmp(client->headers[i].name, name) == 0)
            return slice_of(client->headers[i].value);
    return (struct slice){0};
}

void client_each_header(const struct client *client,
                        void (*visit)(void *arg, const char *name, const char *value), void *arg)
{
    for (size_t i = 0; i < client->header_count; i++)
        visit(arg, client->headers[i].name, client->headers[i].value);
}

void client_take_body(struct client *client, struct buf *body)
{
    *body = client->request;
    client->request = (struct buf){0};
}

void client_own(struct client *client, const struct client_owner *owner, void *arg)
{
    client->owner = owner;
    client->arg = arg;
}

static void begin(struct client *client, int status, struct slice headers)
{
    assert(client->state == SIM_CLIENT_WAITS);
    client->status = status;
    client->first_us = loop_now_us();
    buf_add(&client->head, headers);
}

static void end(struct client *client, enum sim_client_state state)
{
    client->state = state;
    client->last_us = loop_now_us();
}

void client_reply(struct client *client, int status, struct slice headers, struct slice body)
{
    begin(client, status, headers);
    buf_add(&client->body, body);
    end(client, SIM_CLIENT_ENDED);
}

void client_stream_start(struct client *client, int status, struct slice headers)
{
    begin(client, status, headers);
    client->state = SIM_CLIENT_STREAMS;
}

void client_stream_send(struct client *client, struct slice bytes)
{
    assert(client->state == SIM_CLIENT_STREAMS);
    buf_add(&client->body, bytes);
}

size_t client_stream_queued(const struct client *client)
{
    return 0;
}

void client_stream_end(struct client *client)
{
    assert(client->state == SIM_CLIENT_STREAMS);
    end(client, SIM_CLIENT_ENDED);
}

void client_stream_abort(struct client *client)
{
    assert(client->state == SIM_CLIENT_STREAMS);
    end(client, SIM_CLIENT_CUT);
}
