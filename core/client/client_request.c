/* client_request.c -- what whoever serves a request may ask of it. */
/* SPDX-License-Identifier: MIT */
#include "client_own.h"
#include "leaves/loop.h"
#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>

enum { ID_TIME_END = 12 /* of an id: "req_", 32 bits of seconds, 64 of chance */ };

/* ---- ids ---- */

/* xorshift64*, seeded from the kernel. */
static uint64_t next_random(struct client_server *server)
{
    server->seed ^= server->seed >> 12;
    server->seed ^= server->seed << 25;
    server->seed ^= server->seed >> 27;
    return server->seed * 2685821657736338717u;
}

/* Unique, not secret.  The time comes first, so that an index of ids grows at its end: at random
 * places, a ledger of a million rows would write a page for each. */
void client_make_id(struct client *client)
{
    static const char hex[] = "0123456789abcdef";
    uint64_t bits = next_random(client->server), seconds = (uint64_t)loop_wall_seconds();

    memcpy(client->id, "req_", 4);
    for (int i = ID_TIME_END - 1; i >= 4; i--, seconds >>= 4)
        client->id[i] = hex[seconds & 15];
    for (int i = ID_TIME_END; i < CLIENT_ID_LEN; i++, bits >>= 4)
        client->id[i] = hex[bits & 15];
    client->id[CLIENT_ID_LEN] = '\0';
}

/* ---- what was sent ---- */

/* evhttp_find_header compares every name in full: five lookups cost a twentieth of a request. */
static const char *find_header(struct evhttp_request *req, const char *name)
{
    struct evkeyval *header;

    TAILQ_FOREACH(header, evhttp_request_get_input_headers(req), next)
    if ((header->key[0] | 32) == name[0] && strcasecmp(header->key, name) == 0)
        return header->value;
    return NULL;
}

const char *client_id(const struct client *client)
{
    return client->id;
}

enum client_method client_method(const struct client *client)
{
    return evhttp_request_get_command(client->req) == EVHTTP_REQ_POST ? CLIENT_POST : CLIENT_GET;
}

int32_t client_pass(const struct client *client)
{
    return client->pass;
}

struct slice client_path(const struct client *client)
{
    const char *uri = evhttp_request_get_uri(client->req);
    return (struct slice){uri, strcspn(uri, "?")};
}

struct slice client_header(const struct client *client, const char *name)
{
    const char *value = find_header(client->req, name);
    return value ? slice_of(value) : (struct slice){NULL, 0};
}

void client_each_header(const struct client *client,
                        void (*visit)(void *arg, const char *name, const char *value), void *arg)
{
    struct evkeyval *header;

    TAILQ_FOREACH(header, evhttp_request_get_input_headers(client->req), next)
    visit(arg, header->key, header->value);
}

void client_take_body(struct client *client, struct buf *body)
{
    struct evbuffer *input = evhttp_request_get_input_buffer(client->req);
    size_t len = evbuffer_get_length(input);

    struct evbuffer_iovec pieces[16];

    buf_reserve(body, len);
    while (len) {
        int count = evbuffer_peek(input, -1, NULL, pieces, 16);
        size_t taken = 0;
        for (int i = 0; i < count && i < 16; i++) {
            buf_add(body, (struct slice){pieces[i].iov_base, pieces[i].iov_len});
            taken += pieces[i].iov_len;
        }
        evbuffer_drain(input, taken);
        len -= taken;
    }
}
