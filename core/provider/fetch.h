/* fetch.h -- one HTTP request of a policy's own (weir.fetch), to its whole answer.
 *
 * It knows nothing of Lua, nor of who may ask whom. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/err.h"
#include "leaves/slice.h"
#include <stdint.h>

struct event_base;
struct fetch;
struct upstream;

struct fetch_request {
    const char *base;           /* "https://hooks.example:8443" */
    const char *path;           /* "/a?b=c"; copied, like the rest but for method */
    const char *method;         /* a literal */
    const char *const *headers; /* lines "name: value" */
    size_t header_count;
    struct slice body;
    int64_t timeout_ms; /* to the answer's last byte */
    size_t max;         /* bytes of the answer's body */
    bool public_only;   /* never an address of somebody's own network */
};

struct fetch_result { /* borrowed until fetch_free */
    enum err err;     /* ERR_OK: it answered; ERR_TOO_LARGE: with more than max */
    const char *message;
    int status;
    struct slice body;
    const struct transfer *transfer; /* for upstream_next_header; NULL without a head */
};

/* Begins; on_done comes once, from the loop.  NULL: base cannot be read. */
struct fetch *fetch_start(struct event_base *base, struct upstream *upstream,
                          const struct fetch_request *request, void (*on_done)(void *arg),
                          void *arg);
struct fetch_result fetch_result(const struct fetch *fetch); /* after on_done */
void fetch_free(struct fetch *fetch); /* closes the connection if it still runs; accepts NULL */
