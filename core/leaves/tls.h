/* tls.h -- TLS with clients: a certificate with its key, and connections that speak it.
 *
 * The only file that calls OpenSSL.  TLS 1.2 at least, HTTP/1.1 by ALPN.  Reading, and the
 * writing of what waits, are libevent's (bufferevent_openssl); what the socket takes at once is
 * written here, past it.  It knows nothing of HTTP. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "buf.h"
#include "err.h"
#include <stdint.h>

struct bufferevent;
struct event_base;
struct tls;

/* Once, before the master forks: sessions are resumed by every worker. */
void tls_start(void);

struct tls_file {
    const char *path; /* for problems */
    struct slice text;
};

/* From PEM: the certificate, with those between it and the root behind it, and its key.  NULL: a
 * line in problem says why, naming the files. */
struct tls *tls_new(struct tls_file cert, struct tls_file key, struct buf *problem);
void tls_free(struct tls *tls); /* connections go on; accepts NULL */

/* When the certificate ends, in seconds of Unix time, and what it is for: "CN = …"; borrowed. */
int64_t tls_ends(const struct tls *tls);
const char *tls_subject(const struct tls *tls);

/* Connections of that SSL_CTX, libcurl's, shake hands once: the peer that asks again is not heard.
 */
void tls_refuse_renegotiation(void *context);

/* For a connection that will be accepted; bufferevent_free frees all of it. */
struct bufferevent *tls_accept(struct tls *tls, struct event_base *base);

/* Whether both have shaken hands. */
bool tls_is_open(struct bufferevent *bev);

/* Writes now, as few records as it takes; legal while nothing waits in the output.  False: bytes
 * must be added to the output, whole and in one piece. */
MUST_CHECK bool tls_write(struct bufferevent *bev, struct slice bytes);

/* Says that nothing more comes, as the other side wants to know before the connection closes. */
void tls_end(struct bufferevent *bev);

/* Why the connection failed: a static sentence.  is_plain: the peer does not speak TLS but HTTP. */
const char *tls_fault(struct bufferevent *bev, bool *is_plain);
