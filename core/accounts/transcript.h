/* transcript.h -- what a client sent and what it got, of a key whose texts are stored: bounded, in
 * two records for the clerk.
 *
 * The first is handed over before anybody is asked, the second with the last byte.  Of a stream its
 * texts are kept, each put together, and not the events that brought them.  It knows nothing of
 * attempts: what no client got is not in it. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/slice.h"

struct rings;
struct transcript; /* owned by its exchange */

enum transcript_kind {
    TRANSCRIPT_BODY,      /* a request's, or a plain answer's */
    TRANSCRIPT_CONTENT,   /* of a stream, as the next */
    TRANSCRIPT_REASONING, /* text of the thinking */
    TRANSCRIPT_TOOL,      /* a function's name, */
    TRANSCRIPT_TOOL_CALL, /* and its arguments */
    TRANSCRIPT_FINISH,    /* why a choice ended */
    TRANSCRIPT_ERROR,     /* JSON */
    TRANSCRIPT_OTHER,     /* the data of events of no kind above */
};

struct transcript_head { /* of a record; a plain value */
    char request[32];
    int64_t time_us; /* wall clock */
    int64_t keep_s;
    int32_t account;
    int32_t is_answer; /* else the request */
};

struct transcript_part {
    enum transcript_kind kind;
    int32_t choice;
    bool is_inside;    /* text is the inside of a JSON string, as it was written */
    uint64_t bytes;    /* that there were; more than text has: it is cut */
    struct slice text; /* borrowed */
};

/* most: bytes that each record may have of texts; worker: whose ring they go to. */
struct transcript *transcript_new(struct rings *rings, int worker,
                                  const struct transcript_head *head, size_t most);
void transcript_ask(struct transcript *transcript, struct slice body);    /* hands it over */
void transcript_answer(struct transcript *transcript, struct slice body); /* a plain one */
void transcript_stream(struct transcript *transcript, struct slice frames);
/* Hands over the answer, and frees; accepts NULL. */
void transcript_end(struct transcript *transcript);

/* ---- the clerk's ---- */

/* Calls part for each; false: it is no sound record. */
bool transcript_read(struct slice record, struct transcript_head *head,
                     void (*part)(void *arg, const struct transcript_head *head,
                                  const struct transcript_part *part),
                     void *arg);
const char *transcript_kind_name(enum transcript_kind kind);
