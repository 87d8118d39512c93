/* mock_ask.h -- what a request's JSON body asks for. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/err.h"
#include "leaves/slice.h"

struct mock_ask {       /* a plain value; slices are borrowed from the body */
    struct slice model; /* unescaped: in the buffer given to mock_ask_read */
    bool stream;
    bool include_usage;
    int inputs;   /* elements of "input", for embeddings; 1 if a text */
    size_t bytes; /* of the body, for prompt_tokens */
};

/* Fails where the body is not a JSON object; model is unescaped to names. */
MUST_CHECK enum err mock_ask_read(struct mock_ask *ask, struct slice body, struct buf *names);
