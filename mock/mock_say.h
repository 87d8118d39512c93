/* mock_say.h -- the words of an answer in OpenAI's JSON: whole, or as the
 * events of a stream.  It knows nothing of HTTP, pace or place. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "mock_ask.h"
#include "mock_options.h"
#include <stdint.h>
#include <time.h>

enum mock_endpoint { MOCK_CHAT, MOCK_COMPLETIONS, MOCK_EMBEDDINGS };

struct mock_say {
    const struct mock_options *options; /* borrowed, outlives this */
    enum mock_endpoint endpoint;
    bool stream;
    bool usage;      /* the client asked for it */
    unsigned quirks; /* of the fault that plays */
    int size;
    int chunks;   /* in all, thoughts first */
    int thoughts; /* of them */
    int inputs;
    size_t prompt_tokens;
    uint64_t number;    /* of the answer, for its id */
    struct buf opening; /* private: {"id":…,"system_fingerprint":…, */
    struct slice rest;  /* private: of the text, behind the last word */
};

void mock_say_init(struct mock_say *say, const struct mock_options *options,
                   const struct mock_fault *fault, enum mock_endpoint endpoint,
                   const struct mock_ask *ask, uint64_t number);
void mock_say_fini(struct mock_say *say);

/* The whole answer in one JSON object. */
void mock_say_plain(struct mock_say *say, struct buf *out);

/* The events, each once and in this order; chunk numbers count from 0. */
void mock_say_role(struct mock_say *say, struct buf *out);
void mock_say_chunk(struct mock_say *say, int chunk, struct buf *out);
void mock_say_finish(struct mock_say *say, struct buf *out);
void mock_say_usage(struct mock_say *say, struct buf *out);
void mock_say_done(struct mock_say *say, struct buf *out);
void mock_say_comment(struct mock_say *say, struct buf *out);

const char *mock_say_eol(const struct mock_options *options);
void mock_say_models(const struct mock_options *options, struct buf *out);
