/* mock_options.h -- what the mock is told: on the command line for all
 * requests, in a model's name (mock:key=value,key=value) for one.
 *
 * One table holds every option; this knows nothing of HTTP. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/slice.h"
#include "mock_fault.h"

enum { MOCK_MAX_HEADERS = 8 };

struct mock_options { /* texts are borrowed from argv or from memory */
    /* the whole mock */
    const char *listen; /* HOST:PORT */
    const char *name;   /* in system_fingerprint and in the text */
    const char *record; /* file for requests, or NULL */
    bool keep;          /* remember the last requests for GET /mock/requests */
    bool help;
    int seed; /* of the pseudo-random numbers */

    /* the answer */
    const char *text; /* its words are the chunks */
    const char *reasoning;
    const char *tool;   /* the name of a function to call, text its arguments */
    const char *finish; /* finish_reason */
    const char *raw;    /* the body itself, instead of all that */
    const char *type;   /* Content-Type of raw */
    int chunks;         /* 0: as many as text has words */
    int chunk_bytes;    /* 0: a word each */
    int answer_bytes;   /* of a plain answer's text; 0: as streamed */
    bool crlf;
    bool no_done;
    const char *framing; /* chunked, length, close, or NULL: as usual */
    const char *headers[MOCK_MAX_HEADERS];

    /* its pace; milliseconds */
    int latency_ms;
    int interval_ms;
    int ping_ms; /* comments while stalled */
    int split;   /* bytes a write; 0: a frame a write */

    /* its faults */
    struct mock_fault fault;
    int after;         /* place of the fault, MOCK_AT_START: its own */
    const char *shape; /* of error bodies, or NULL: as the provider's */
    const char *code, *message;
    const char *retry_after;
    double fault_rate; /* of requests */
    int fault_every;   /* the Nth request to each model; 0: all */
    int fault_first;   /* the first N requests to each model; 0: all */

    /* its limits */
    const char *ratelimit; /* provider whose headers are sent */
    const char *spent;     /* requests or tokens: which a 429 says is spent */
    int rpm;               /* requests a window, for each model; 0: no limit */
    int window_ms;

    char *memory; /* private: what texts of a model's name point to */
    char *hello;  /* private: text, where none was given */
};

void mock_options_init(struct mock_options *options);
void mock_options_fini(struct mock_options *options);

/* Reads argv[1] on.  False on bad usage, with the reason in err. */
bool mock_options_read(struct mock_options *options, int argc, char **argv, struct buf *err);

/* A copy of defaults with what a model's name says on top; the caller owns it.
 * NULL when the name is wrong, with the reason in err. */
struct mock_options *mock_options_dup(const struct mock_options *defaults, struct slice model,
                                      struct buf *err);
void mock_options_free(struct mock_options *options); /* what dup gave; accepts NULL */

/* True when a model's name holds options. */
bool mock_options_in(struct slice model);

void mock_options_help(struct buf *out);
