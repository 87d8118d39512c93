/* mock_fault.h -- what can go wrong with an answer, and where.
 *
 * A fault is a place in the answer and what happens there, or a quirk of how
 * it is written, or another answer altogether.  Several can be joined.  It
 * knows nothing of connections. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/slice.h"

/* Places in an answer, in order.  From 0 on: so many chunks of a stream are
 * out (0: the role alone), or so many bytes of a plain body. */
enum {
    MOCK_AT_START = -3,
    MOCK_AT_HEAD = -2,        /* inside the head */
    MOCK_AT_BODY = -1,        /* the head is out */
    MOCK_AT_FINISH = 1 << 30, /* the finish_reason is out */
    MOCK_AT_USAGE,
    MOCK_AT_DONE, /* [DONE] is out, the last HTTP chunk is not */
    MOCK_AT_END,
};

enum mock_act {
    MOCK_GO_ON,
    MOCK_CLOSE, /* FIN */
    MOCK_RESET, /* RST */
    MOCK_STALL, /* until POST /mock/go */
    MOCK_STOP,  /* an orderly end of HTTP, whatever is missing of the stream */
    MOCK_ERROR, /* an error event, then an orderly end */
    MOCK_WHOLE, /* no fault: the answer is out */
};

enum { /* quirks, as bits */
       MOCK_BAD_CHUNK_SIZE = 1 << 0,
       MOCK_BAD_UTF8 = 1 << 1,
       MOCK_BURST = 1 << 2,
       MOCK_COMMENTS = 1 << 3,
       MOCK_DRIP = 1 << 4,
       MOCK_EXTRA_BYTES = 1 << 5,
       MOCK_FLOOD_1XX = 1 << 6,
       MOCK_GIANT_LINE = 1 << 7,
       MOCK_GZIP = 1 << 8,
       MOCK_HUGE_HEADER = 1 << 9,
       MOCK_JUNK_STATUS = 1 << 10,
       MOCK_LONE_SURROGATE = 1 << 11,
       MOCK_TRAILERS = 1 << 12,
       MOCK_TRUNCATED_JSON = 1 << 13,
       MOCK_TWO_LENGTHS = 1 << 14,
       MOCK_USAGE_EVERY_CHUNK = 1 << 15,
       MOCK_USAGE_IN_FINISH = 1 << 16,
};

struct mock_fault { /* a plain value; all zero is no fault */
    enum mock_act act;
    int at;            /* where act happens */
    unsigned quirks;   /* MOCK_BURST, … */
    int size;          /* of the quirk: bytes, frames or heads */
    int status;        /* 0, or the answer is this status ... */
    const char *shape; /* ... with an error of this shape; NULL: as the options say */
};

/* Joins the fault that spec, KIND or KIND:ARG, names.  Gives NULL, or what is
 * wrong with it, static. */
const char *mock_fault_add(struct mock_fault *fault, const char *spec);

/* Reads a place: head, role, finish, usage, done, or a number. */
bool mock_fault_place(const char *text, int *at);

/* Appends a table of the kinds for --help. */
void mock_fault_help(struct buf *out);
