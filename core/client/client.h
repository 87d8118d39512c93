/* client.h -- the clients' side: connections, their requests, and what is sent back.
 *
 * evhttp is the server, behind the strict gate, and this the only file that
 * calls it.  Replies are written by client.c itself, straight to the socket
 * when it takes them.  It knows nothing of models, policies or providers.
 *
 * A struct client is one connection and the request that it is at.  It is lent
 * with on_request, and is whoever's who calls client_own until the reply has
 * been given (client_reply, client_stream_end, client_stream_abort, client_drop:
 * after these the pointer is not to be used) or on_gone was called.
 *
 * Handlers are never called from inside the function that does the work. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/slice.h"
#include "parsers/gate.h"
#include <stdint.h>

struct event_base;
struct tls;
struct client_server;
struct client;

enum client_method { CLIENT_GET, CLIENT_POST };

struct client_limits {
    struct gate_limits gate;
    size_t connections; /* at most so many at once; more wait in the kernel's queue */
    int64_t head_us;    /* a head must be whole in this time, */
    int64_t body_us;    /* and a body in that */
    int64_t idle_us;    /* a kept connection without a request */
    int64_t stuck_us;   /* a reader that takes nothing */
};

typedef void client_on_request(void *arg, struct client *client);

/* limits are copied. */
struct client_server *client_server_new(struct event_base *base, const struct client_limits *limits,
                                        client_on_request *on_request, void *arg);
void client_server_listen(struct client_server *server, int fd); /* takes a listening socket, which
                                                                    replaces one that it has */

struct client_head { /* borrowed during the call */
    enum client_method method;
    struct slice path; /* without the query */
    struct slice authorization;
};

/* Whether a request may come in, asked before its body is read: NULL, and pass is what client_pass
 * gives from then on; else the JSON of its answer with 401, of which there are few: static. */
typedef const char *client_screen(void *arg, const struct client_head *head, int32_t *pass);

/* Where no other request is under way on its connection; else it comes unscreened.  arg is that of
 * on_request. */
void client_server_screen(struct client_server *server, client_screen *screen);

/* From now on; copied.  What the gate has let in goes on. */
void client_server_limit(struct client_server *server, const struct client_limits *limits);

/* Connections that come from now on speak TLS; NULL: plain.  Borrowed until the next call. */
void client_server_secure(struct client_server *server, struct tls *tls);

/* Accepts no more, closes what is idle, and says "connection: close" from now on. */
void client_server_drain(struct client_server *server);
void client_server_free(struct client_server *server); /* cuts what is left; owners are told */
size_t client_server_count(const struct client_server *server); /* connections */

/* The request. All slices are borrowed until the reply. */
const char *client_id(const struct client *client); /* x-request-id, made here */
enum client_method client_method(const struct client *client);
int32_t client_pass(const struct client *client); /* 0: it was not screened, or none was given */
struct slice client_path(const struct client *client); /* without the query */
struct slice client_header(const struct client *client, const char *name);
void client_each_header(const struct client *client,
                        void (*visit)(void *arg, const char *name, const char *value), void *arg);
void client_take_body(struct client *client, struct buf *body); /* body is empty before */

struct client_owner {
    void (*on_gone)(void *arg);    /* the client left: the request is over, without a reply */
    void (*on_drained)(void *arg); /* what was queued by client_stream_send is out */
};

void client_own(struct client *client, const struct client_owner *owner, void *arg);

/* A whole reply.  headers: a block made with head.h; content-length is added. */
void client_reply(struct client *client, int status, struct slice headers, struct slice body);

/* A stream: the head leaves with the first bytes.  Each send is one flush. */
void client_stream_start(struct client *client, int status, struct slice headers);
void client_stream_send(struct client *client, struct slice bytes);
size_t client_stream_queued(const struct client *client); /* bytes the socket did not take yet */
void client_stream_end(struct client *client);
/* Ends a stream that is not whole: what is queued gets a second to leave, then the connection
 * closes without the final chunk, so that the client sees that it was cut. */
void client_stream_abort(struct client *client);

/* Closes the connection at once. */
void client_drop(struct client *client);
