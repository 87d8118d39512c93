/* sse.h -- server-sent events: bytes in, events out.
 *
 * A parser takes whatever the network brought, in pieces of any size, and
 * calls back once per block, in order.  It follows the event-stream grammar of
 * WHATWG HTML 9.2.6.  It does no I/O and knows nothing of models or Lua, so a
 * spec can drive it one byte at a time.  Parsers share nothing. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/err.h"
#include "leaves/slice.h"

enum { SSE_MAX_EVENT = 16 * 1024 * 1024 };

struct sse; /* owned by whoever called sse_new */

struct sse_event {     /* borrowed: gone when on_event returns */
    struct slice name; /* the event field's value; empty when the stream gave none */
    struct slice data; /* the data lines, joined by '\n' */
    struct slice id;   /* this block's id field; empty when it gave none */
    struct slice raw;  /* every byte of the block as it came, blank line included; the raws
                          of all events, joined, are the stream */
    long retry_ms;     /* -1 when the block gave none */
    bool has_data;     /* false: a comment, a bare id or retry, a stray blank line, a BOM */
    bool has_ignored;  /* a line that the standard has us skip: no field it knows (a server
                          that wrote bare JSON or HTML), an id with NUL, a retry that is
                          no number */
    bool is_done;      /* data is exactly [DONE] */
    bool is_unended;   /* the stream ended before the blank line */
};

/* Must not feed, finish or free the parser that calls it; what it decides about
 * that one is done when sse_feed has returned. */
typedef void sse_on_event(void *arg, const struct sse_event *event);

/* max_event: bytes that one block may have; 0 means SSE_MAX_EVENT. */
struct sse *sse_new(size_t max_event, sse_on_event *on_event, void *arg);

/* Calls back for every block that these bytes end, as soon as its blank line is
 * there: a CR that ends one is not held back for the LF that may follow.
 * Fails with ERR_TOO_LARGE past max_event bytes, and from then on; the blocks
 * before the large one are handed out. */
MUST_CHECK enum err sse_feed(struct sse *sse, const char *bytes, size_t len);

/* The stream ended: calls back for a last block without its blank line, marked
 * is_unended.  (The standard drops such a block; OpenAI-compatible servers send
 * a last "data: [DONE]" without one, so we hand it over and say so.) */
MUST_CHECK enum err sse_finish(struct sse *sse);

/* Bytes held of a block that is not whole yet. */
size_t sse_pending(const struct sse *sse);

/* Drops what the stream left unfinished.  Accepts NULL. */
void sse_free(struct sse *sse);
