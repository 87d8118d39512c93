/* desk.h -- where the clerk is asked: requests come with the connections that they are answered on.
 *
 * Nobody is waited for: what a caller does not take at once is kept, within
 * bounds of number, bytes and time, and written as it is taken. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/slice.h"

struct desk;

struct desk_owner {
    /* The whole answer to an HTTP request, its head included, onto out. */
    void (*answer)(void *arg, struct slice request, struct buf *out);
    /* What the master says: a packet without a connection. */
    void (*hear)(void *arg, struct slice said);
    void *arg;
};

/* fd: packets from the master; borrowed. */
struct desk *desk_new(int fd, const struct desk_owner *owner);
void desk_free(struct desk *desk); /* hangs up on whoever still waits; accepts NULL */

/* One packet at most, and what callers take of their answers; waits so long for either.  False: the
 * master is gone. */
bool desk_turn(struct desk *desk, int patience_ms);

/* The answer that something is not there now: 503, in the form that the request wants. */
void desk_unavailable(struct slice request, const char *why, struct buf *out);
