/* peer.c -- the connections that wait for the next request. */
/* SPDX-License-Identifier: MIT */
#include "peer.h"
#include "connection.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

enum {
    KEPT_MAX = 256, /* idle connections of one peer */
    KEPT_S = 50,    /* seconds; below what providers keep an idle connection for */
};

struct kept { /* an idle connection */
    struct peer *peer;
    struct connection *connection;
    int64_t since_us;
    TAILQ_ENTRY(kept) link;
};

struct peer {
    struct peers *peers;
    char *name;
    unsigned users;
    size_t count;
    bool is_listed;                   /* among the peers */
    TAILQ_HEAD(kept_list, kept) kept; /* the latest first */
    LIST_ENTRY(peer) link;
};

struct peers {
    LIST_HEAD(, peer) list;
    struct event sweep; /* of connections kept for too long */
};

static void on_kept_ready(void *arg, bool can_read, bool can_write);

static const struct connection_owner kept_owner = {.on_ready = on_kept_ready};

/* ---- peers ---- */

struct peer *peer_of(struct peers *peers, const char *name)
{
    struct peer *peer;

    LIST_FOREACH(peer, &peers->list, link)
    if (strcmp(peer->name, name) == 0)
        break;
    if (!peer) {
        peer = mem_new(sizeof *peer);
        peer->peers = peers;
        peer->name = mem_dup(slice_of(name));
        peer->is_listed = true;
        TAILQ_INIT(&peer->kept);
        LIST_INSERT_HEAD(&peers->list, peer, link);
    }
    peer->users++;
    return peer;
}

static void peer_check(struct peer *peer)
{
    if (peer->users || peer->count)
        return;
    if (peer->is_listed)
        LIST_REMOVE(peer, link);
    mem_free(peer->name);
    mem_free(peer);
}

void peer_release(struct peer *peer)
{
    if (!peer)
        return;
    peer->users--;
    peer_check(peer);
}

/* ---- what they keep ---- */

/* The connection is the caller's. */
static struct connection *unkeep(struct kept *kept)
{
    struct connection *connection = kept->connection;

    TAILQ_REMOVE(&kept->peer->kept, kept, link);
    kept->peer->count--;
    mem_free(kept);
    return connection;
}

/* May take its peer along. */
static void kept_free(struct kept *kept)
{
    struct peer *peer = kept->peer;

    connection_free(unkeep(kept));
    peer_check(peer);
}

/* It was closed, or says what nobody asked for. */
static void on_kept_ready(void *arg, bool can_read, bool can_write)
{
    struct kept *kept = arg;

    if (!connection_is_quiet(kept->connection))
        kept_free(kept);
}

void peer_keep(struct peer *peer, struct connection *connection)
{
    struct timeval soon = {KEPT_S, 0};
    struct kept *kept = mem_new(sizeof *kept);

    if (peer->count >= KEPT_MAX)
        kept_free(TAILQ_LAST(&peer->kept, kept_list));
    kept->peer = peer;
    kept->connection = connection;
    kept->since_us = loop_now_us();
    peer->count++;
    TAILQ_INSERT_HEAD(&peer->kept, kept, link);
    connection_give(connection, &kept_owner, kept);
    connection_want(connection, true, false);
    if (!event_pending(&peer->peers->sweep, EV_TIMEOUT, NULL))
        event_add(&peer->peers->sweep, &soon);
}

struct connection *peer_take(struct peer *peer, int64_t now_us)
{
    struct kept *kept;

    while ((kept = TAILQ_FIRST(&peer->kept))) {
        bool is_old = now_us - kept->since_us > (int64_t)KEPT_S * 1000000;
        if (!is_old && connection_is_quiet(kept->connection))
            return unkeep(kept);
        kept_free(kept);
    }
    return NULL;
}

static void on_sweep(evutil_socket_t fd, short what, void *arg)
{
    struct peers *peers = arg;
    int64_t before = loop_now_us() - (int64_t)KEPT_S * 1000000;
    struct timeval soon = {KEPT_S, 0};
    struct peer *peer, *next;
    bool any = false;

    for (peer = LIST_FIRST(&peers->list); peer; peer = next) {
        size_t count = peer->count;
        next = LIST_NEXT(peer, link);
        for (; count && TAILQ_LAST(&peer->kept, kept_list)->since_us <= before; count--)
            kept_free(TAILQ_LAST(&peer->kept, kept_list));
        any = any || count;
    }
    if (any)
        event_add(&peers->sweep, &soon);
}

/* ---- the whole ---- */

struct peers *peers_new(struct event_base *base)
{
    struct peers *peers = mem_new(sizeof *peers);

    LIST_INIT(&peers->list);
    event_assign(&peers->sweep, base, -1, 0, on_sweep, peers);
    return peers;
}

void peers_free(struct peers *peers)
{
    struct peer *peer;

    while ((peer = LIST_FIRST(&peers->list))) {
        LIST_REMOVE(peer, link);
        peer->is_listed = false;
        for (size_t count = peer->count; count; count--)
            kept_free(TAILQ_FIRST(&peer->kept));
    }
    event_del(&peers->sweep);
    mem_free(peers);
}
