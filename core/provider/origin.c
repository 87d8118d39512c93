/* origin.c -- request heads, written once for each path and copied for each request. */
/* SPDX-License-Identifier: MIT */
#include "origin.h"
#include "base_url.h"
#include "leaves/mem.h"
#include "peer.h"

enum { PATHS = 8 };

struct origin {
    unsigned users; /* its owner, and each transfer */
    struct base_url address;
    struct buf headers; /* every request's, as lines */
    bool public_only;
    struct {
        const char *method, *path;
        struct buf head; /* request line and headers, up to what is each request's own */
    } heads[PATHS];
    struct peer *peer; /* NULL before the first transfer */
};

/* Bytes for all headers: a buffer that grew would leave the credential behind. */
static size_t room_for(const struct base_url *address, const char *const *headers, size_t count)
{
    size_t room = strlen(address->host) + 256; /* origin_new's own, and a zero byte */

    for (size_t i = 0; i < count; i++)
        room += strlen(headers[i]) + 2;
    return room;
}

struct origin *origin_bare(const char *base_url, const char *const *headers, size_t count,
                           bool public_only)
{
    struct base_url address;

    if (!base_url_read(base_url, &address))
        return NULL;
    struct origin *origin = mem_new(sizeof *origin);
    origin->users = 1;
    origin->address = address;
    origin->public_only = public_only;
    buf_reserve(&origin->headers, room_for(&address, headers, count));
    buf_add_format(&origin->headers, "Host: %s\r\n", address.host);
    for (size_t i = 0; i < count; i++)
        buf_add_format(&origin->headers, "%s\r\n", headers[i]);
    return origin;
}

struct origin *origin_new(const char *base_url, const char *const *headers, size_t count)
{
    struct origin *origin = origin_bare(base_url, headers, count, false);

    if (origin)
        buf_add_text(&origin->headers, "Content-Type: application/json\r\n"
                                       "Accept: application/json, text/event-stream\r\n");
    return origin;
}

struct origin *origin_use(struct origin *origin)
{
    origin->users++;
    return origin;
}

void origin_wipe(struct buf *head)
{
    if (head->capacity)
        explicit_bzero(head->base, head->capacity);
    buf_free(head);
}

void origin_free(struct origin *origin)
{
    if (!origin || --origin->users)
        return;
    for (size_t i = 0; i < PATHS; i++)
        origin_wipe(&origin->heads[i].head);
    origin_wipe(&origin->headers);
    peer_release(origin->peer);
    base_url_free(&origin->address);
    mem_free(origin);
}

static bool is_head(const struct origin *origin, size_t i, const char *method, const char *path)
{
    return origin->heads[i].path && strcmp(origin->heads[i].path, path) == 0 &&
           strcmp(origin->heads[i].method, method) == 0;
}

struct slice origin_head(struct origin *origin, const char *method, const char *path)
{
    size_t i = 0;

    while (i < PATHS - 1 && origin->heads[i].path && !is_head(origin, i, method, path))
        i++;
    struct buf *head = &origin->heads[i].head;
    if (!is_head(origin, i, method, path)) {
        origin->heads[i].method = method;
        origin->heads[i].path = path;
        origin_wipe(head);
        buf_reserve(head, strlen(origin->address.path) + strlen(path) + origin->headers.len + 64);
        buf_add_format(head, "%s %s%s HTTP/1.1\r\n", method, origin->address.path, path);
        buf_add(head, buf_slice(&origin->headers));
    }
    return buf_slice(head);
}

const char *origin_name(const struct origin *origin)
{
    return origin->address.origin;
}

bool origin_is_public_only(const struct origin *origin)
{
    return origin->public_only;
}

/* What was connected to without looking is not for those who want it looked at. */
struct peer *origin_peer(struct origin *origin, struct peers *peers)
{
    if (!origin->peer) {
        struct buf name = {0};
        buf_add_format(&name, "%s%s", origin->public_only ? "public " : "", origin->address.origin);
        buf_add_char(&name, '\0');
        origin->peer = peer_of(peers, name.ptr);
        buf_free(&name);
    }
    return origin->peer;
}
