/* said.h -- what a stream has said so far, and another stream's frames fitted behind it.
 *
 * For a stream that breaks and may go on with another model: it collects the
 * text, knows when nothing can go on, and gives the frames that follow the first
 * stream's id, so that the client sees one.  It knows nothing of attempts. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "chunk.h"
#include "leaves/buf.h"
#include "leaves/slice.h"

enum { SAID_MAX = 1024 * 1024 }; /* bytes of text, as written; no stream goes on after more */

struct said {
    struct buf text;        /* the inside of the one choice's strings, as written */
    struct buf id, created; /* JSON; empty: the first message has none */
    bool has_message;       /* one came */
    bool is_settled;        /* nothing can go on: a tool call or the finish came, a second choice */
};

void said_fini(struct said *said);

/* One more message of the stream; data is what chunk was read from. */
void said_add(struct said *said, struct slice data, const struct chunk *chunk);

/* Whether another stream may go on; its text so far is appended to text.  False as well when the
 * text is none that can be read. */
bool said_may_go_on(const struct said *said, struct buf *text);

/* A message of the stream that goes on, as one line with the first's id and time and without a
 * role, appended to out; nothing when it says no more than its role. */
void said_join(const struct said *said, struct slice data, const struct chunk *chunk,
               struct buf *out);
