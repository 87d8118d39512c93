/* http1.h -- one HTTP/1.1 response: bytes in, head and body out (RFC 9112).
 *
 * A reader takes whatever the network brought, in pieces of any size.  It does
 * no I/O and knows nothing of connections, so a spec can drive it one byte at a
 * time.  It is lenient where the standard lets a recipient be (a bare LF ends a
 * line, folded lines are joined), and refuses what could be framed in two ways. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/err.h"

enum {
    HTTP1_HEAD_MAX = 64 * 1024, /* bytes of a head, of a chunk's size line, of the trailers */
    HTTP1_INFORMATIONAL_MAX = 8 /* 1xx responses before the real one */
};

enum http1_state {
    HTTP1_STATUS, /* nothing of the final head's status line is known */
    HTTP1_HEADER,
    HTTP1_LENGTH, /* a body of known length */
    HTTP1_UNTIL_CLOSE,
    HTTP1_CHUNK_SIZE,
    HTTP1_CHUNK,
    HTTP1_CHUNK_END,
    HTTP1_TRAILER,
    HTTP1_DONE, /* the response is whole */
};

struct http1 {       /* all zero is a fresh one; http1_free gives back what it holds */
    struct buf head; /* the final head's lines, "name: value\n", names lower-case */
    struct buf line; /* the part of a line that came */
    uint64_t left;   /* bytes of the body, or of the chunk, that are to come */
    size_t counted;  /* bytes of the part that HTTP1_HEAD_MAX bounds */
    enum http1_state state;
    int status; /* of the final head; 0 before its status line */
    int informational;
    bool head_done;
    bool keeps; /* the connection can carry another request after this response */
    bool any;   /* a byte came */
    bool has_length, is_chunked, line_used;
    bool is_old;      /* HTTP/1.0 */
    bool closes;      /* it says so, whatever else it says */
    bool frames_body; /* the header that came last may not fold */
};

/* Takes all of bytes; those of the body are added to body.  ERR_BAD_RESPONSE with a sentence
 * (static) in *detail when it is not sound HTTP; nothing may be fed after that. */
MUST_CHECK enum err http1_feed(struct http1 *http1, struct slice bytes, struct buf *body,
                               const char **detail);

/* The connection ended: ERR_OK when the response is whole by that, else how it is not. */
MUST_CHECK enum err http1_finish(struct http1 *http1, const char **detail);

/* Walks the head's lines: true while *at was moved to another one.  Begin with *at = 0. */
bool http1_next_header(const struct http1 *http1, size_t *at, struct slice *name,
                       struct slice *value);

void http1_free(struct http1 *http1);
