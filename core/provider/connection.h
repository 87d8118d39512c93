/* connection.h -- a stream of bytes to a server and back, opened by libcurl.
 *
 * libcurl resolves the name, races its addresses, connects, and speaks and
 * checks TLS (CURLOPT_CONNECT_ONLY).  What is said over the connection is its
 * owner's affair.  A plain one costs a socket once it is open; one with TLS
 * keeps its libcurl handle.
 *
 * Owners: on_open or on_fail comes once, never from inside connection_new; then
 * on_ready as connection_want asks.  Each may free the connection. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/err.h"
#include "leaves/slice.h"
#include <sys/types.h>

struct event_base;
struct connections; /* a worker's */
struct connection;

struct connections *connections_new(struct event_base *base);
void connections_free(struct connections *connections); /* every connection was freed before */

struct connection_owner {
    void (*on_open)(void *arg);
    void (*on_fail)(void *arg, enum err err, const char *detail); /* a sentence; static */
    void (*on_ready)(void *arg, bool can_read, bool can_write);
};

/* Begins to connect to url's host.  The caller owns it.  public_only: it fails where the name
 * leads to an address of somebody's own network; what is looked at is what is connected to. */
struct connection *connection_new(struct connections *connections, const char *url,
                                  bool public_only, const struct connection_owner *owner,
                                  void *arg);
void connection_free(struct connection *connection); /* closes, in whatever state; accepts NULL */

/* Another owner from now on. */
void connection_give(struct connection *connection, const struct connection_owner *owner,
                     void *arg);

/* As read(2) and writev(2) without blocking: 0 is the peer's end, -1 with errno (EAGAIN: later). */
ssize_t connection_read(struct connection *connection, char *to, size_t room);
ssize_t connection_write(struct connection *connection, struct slice first, struct slice second);

/* What on_ready is to tell. */
void connection_want(struct connection *connection, bool read, bool write);

/* Whether the peer has neither closed it nor said anything. */
bool connection_is_quiet(struct connection *connection);

/* Whether the peer's kernel has all that was written. */
bool connection_is_flushed(const struct connection *connection);

/* Whether libcurl may hold bytes that no on_ready will tell of. */
bool connection_buffers(const struct connection *connection);

/* The sentence that on_fail gives with err; the first of several; "" for others. */
const char *connection_sentence(enum err err);
