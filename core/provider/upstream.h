/* upstream.h -- one HTTP exchange with a provider: start, cancel, pause; head, bytes, done.
 *
 * It knows nothing of models, policies or clients: a transfer posts bytes to an
 * origin and gives back what comes.  Connections are kept and used again.
 * Nothing is ever sent twice: when a kept connection dies unanswered, the
 * transfer fails, and whoever started it decides.
 *
 * Handlers: never called from inside the function that starts or resumes the
 * work; never after upstream_cancel or upstream_release, one of which ends every
 * transfer; on_done comes exactly once, last, and the head can be read until the
 * transfer is ended; any of them may end it, so calling out is the last thing
 * this module does. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/err.h"
#include "leaves/slice.h"
#include <stdint.h>

struct event_base;
struct upstream; /* a worker's connections to all providers */
struct origin;   /* where requests go: origin.h */
struct transfer; /* one request; whoever started it ends it, also after on_done */

struct upstream *upstream_new(struct event_base *base);
void upstream_free(struct upstream *upstream); /* ends all transfers without a word */

struct upstream_header { /* one header of this request alone; borrowed until start returns */
    const char *name;
    const char *value;
};

struct upstream_request {
    struct origin *origin;
    const char *method; /* a literal; NULL: "POST" */
    const char *path;   /* below the base URL, e.g. "/chat/completions"; as of origin_head */
    struct buf *body;   /* taken: empty afterwards */
    const struct upstream_header *headers;
    size_t header_count;
};

struct upstream_handler {
    void (*on_open)(void *arg, int64_t us); /* connected, after so long; 0 on a kept connection */
    void (*on_head)(void *arg, int status);
    void (*on_bytes)(void *arg, struct buf *bytes); /* take with buf_drop what was used; the rest
                                                       stays and is offered again with more */
    void (*on_done)(void *arg, enum err err, const char *detail); /* a sentence; static */
};

/* Begins; the first callback comes on a later turn of the loop. */
struct transfer *upstream_start(struct upstream *upstream, const struct upstream_request *request,
                                const struct upstream_handler *handler, void *arg);

/* The final head's header, lower-case name; empty when absent; borrowed until the transfer ends. */
struct slice upstream_header(const struct transfer *transfer, const char *name);

/* Walks the final head's headers: true while *at was moved to another one.  Begin with *at = 0. */
bool upstream_next_header(const struct transfer *transfer, size_t *at, struct slice *name,
                          struct slice *value);

/* Forgets the head, and the request's body once all of it was sent: a long stream holds less. */
void upstream_slim(struct transfer *transfer);

/* Whether the request may have reached the provider. */
bool upstream_was_sent(const struct transfer *transfer);

/* From on_head on, bytes wait (in the kernel, past a first read) until reading is allowed. */
void upstream_read(struct transfer *transfer);
void upstream_pause(struct transfer *transfer);

/* Closes the connection at once; no callback follows.  Accepts NULL. */
void upstream_cancel(struct transfer *transfer);

/* Lets the end of an answer that nobody needs arrive, so that the connection can be kept;
 * what lingers more than a second is closed.  No callback follows. */
void upstream_release(struct transfer *transfer);

/* The sentence that on_done gives with err; the first of several. */
const char *upstream_sentence(enum err err);

/* Connections in use and kept, for gauges. */
size_t upstream_active(const struct upstream *upstream);
