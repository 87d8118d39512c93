/* gate.h -- the strict reader of HTTP/1 messages in front of evhttp.
 *
 * It watches a connection's bytes as they come and says how many of them are
 * sound; evhttp gets only those.  RFC 9112 to the letter, where evhttp is lax:
 * no bare LF, no obs-fold, no NUL, no space before a colon, one Content-Length
 * or one "chunked" and never both, limits on everything.  A pure function over
 * bytes: it does no I/O, keeps no body, and can be fuzzed. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/slice.h"
#include <stdint.h>

struct gate_limits {
    size_t head;     /* bytes of request line and headers, blank line included: 32 KiB */
    size_t headers;  /* how many: 100 */
    size_t uri;      /* bytes: 2 KiB */
    uint64_t body;   /* bytes: 16 MiB */
    bool bare_posts; /* a POST that tells no length has no body (RFC 9112, 6.3), and is no 411 */
};

enum gate_phase { GATE_HEAD, GATE_BODY };

struct gate_refusal; /* private */

struct gate { /* a plain value, one a connection; all zero but limits is ready */
    const struct gate_limits *limits; /* borrowed, outlives the gate */
    enum gate_phase phase;            /* what the next byte belongs to */
    /* private */
    int step;
    unsigned facts;                     /* known of an unfinished head */
    size_t seen;                        /* its bytes looked at already */
    size_t line;                        /* offset of its line that is not whole yet */
    size_t headers;                     /* its header lines so far */
    size_t key_at, key_len;             /* of it: the value of authorization */
    const char *base;                   /* while it is read: its first byte */
    uint64_t left;                      /* bytes of the body, or of a chunk */
    uint64_t total;                     /* bytes of all chunks so far, for the limit */
    const struct gate_refusal *refusal; /* set once, for good */
};

struct gate_verdict {
    size_t passed;      /* bytes from the front that are sound: evhttp may have them */
    unsigned heads;     /* request heads that ended within them */
    unsigned ends;      /* whole requests that ended within them */
    struct slice key;   /* the value of authorization in the last of these; ptr NULL: it has none */
    bool waits;         /* the client of that one wants to be told to go on before its body */
    int status;         /* 0, or the HTTP status to refuse what follows with:
                           400 405 411 413 414 417 431 501 505 */
    const char *reason; /* one sentence for the client when status is set; static */
    const char *code;   /* a short stable word, e.g. "bare_lf"; static, for the counter */
};

/* Looks at bytes that follow what was passed before: the caller keeps what was
 * not passed and offers it again, from its first byte, with what came after.  A
 * head passes whole or not at all; body bytes pass as they come.  What was
 * searched of an unfinished head is not searched again, however it drips.  Once
 * it has refused, a gate passes nothing more.  (The answer to a refused HEAD request has no body:
 * its code is "method_head".) */
struct gate_verdict gate_read(struct gate *gate, struct slice bytes);
