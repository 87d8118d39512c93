/* upstream_own.h -- what upstream.c, a transfer's life, and upstream_flow.c, its bytes, share. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "connection.h"
#include "parsers/http1.h"
#include "upstream.h"
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

enum { READ_SIZE = 64 * 1024 }; /* bytes asked for at once */

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

/* ---- upstream.c ---- */

/* There is something to tell its owner: at the next upstream_deliver. */
void transfer_note(struct transfer *transfer);

/* Calls the owners of all that was noted; any of them may start, pause and cancel transfers. */
void upstream_deliver(struct upstream *upstream);

void transfer_free(struct transfer *transfer);

/* ---- upstream_flow.c ---- */

extern const struct connection_owner transfer_owner;

/* It has its connection: the request begins to leave. */
void transfer_opened(struct transfer *transfer);

bool transfer_is_sent(const struct transfer *transfer);

/* Reads on, on a later turn, when it is held and its owner wants bytes. */
void transfer_resume_later(struct transfer *transfer);

/* It is among the held no more. */
void transfer_let_go(struct transfer *transfer);

void upstream_on_resume(evutil_socket_t fd, short what, void *arg);
