/* peer.h -- where connections lead (scheme, host and port), and those kept for the next request.
 *
 * A kept connection that its server closes, or says anything over, is closed at
 * once; so is one that was idle for longer than providers keep theirs.  A peer
 * that nobody uses stays while it keeps connections, so that the next generation
 * finds them. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <stdint.h>

struct connection;
struct event_base;
struct peers; /* a worker's */
struct peer;

struct peers *peers_new(struct event_base *base);
void peers_free(struct peers *peers); /* closes what is kept; peers in use stay until released */

/* The peer of that name, e.g. "https://api.example:8443"; used until peer_release. */
struct peer *peer_of(struct peers *peers, const char *name);
void peer_release(struct peer *peer); /* accepts NULL */

/* Takes over an open connection on which nothing is under way. */
void peer_keep(struct peer *peer, struct connection *connection);

/* The connection that was kept last and still lives; the caller owns it.  NULL: none.
 * now_us: monotonic. */
struct connection *peer_take(struct peer *peer, int64_t now_us);
