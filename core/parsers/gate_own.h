/* gate_own.h -- what gate.c, which frames, and gate_head.c, which judges heads, share. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "gate.h"

enum step {
    STEP_REQUEST, /* the request line */
    STEP_HEADERS,
    STEP_LENGTH,    /* a body with Content-Length */
    STEP_SIZE,      /* the line of a chunk's size */
    STEP_CHUNK,     /* a chunk's data */
    STEP_CHUNK_END, /* the CRLF after it */
    STEP_LAST,      /* the CRLF after the chunk of size 0 */
};

enum fact {
    FACT_POST = 1 << 0, /* else GET */
    FACT_HTTP_1_0 = 1 << 1,
    FACT_HOST = 1 << 2,
    FACT_LENGTH = 1 << 3,
    FACT_CHUNKED = 1 << 4,
    FACT_TYPE = 1 << 5,
    FACT_AUTHORIZATION = 1 << 6,
    FACT_EXPECT = 1 << 7,
};

struct gate_refusal {
    int status;
    const char *code;
    const char *reason;
};

/* The name of each is its stable word. */
#define REFUSAL(name, status, reason)                                                              \
    static const struct gate_refusal name = {status, #name, reason}

/* One line of a head, without its CRLF; notes what it tells.  NULL: it is sound. */
const struct gate_refusal *gate_check_line(struct gate *gate, struct slice line);

/* A head that is longer than it may be at the line that it has come to. */
const struct gate_refusal *gate_over_limit(const struct gate *gate);

/* What is left to check when the blank line came. */
const struct gate_refusal *gate_check_head(const struct gate *gate);
