/* mock_head.h -- the status line and headers of an answer. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "mock_limit.h"
#include "mock_options.h"

enum mock_framing { MOCK_BY_LENGTH, MOCK_BY_CHUNKS, MOCK_BY_CLOSE };

struct mock_head { /* a plain value; all borrowed */
    int status;
    const char *type; /* Content-Type, or NULL */
    enum mock_framing framing;
    size_t length; /* of the body */
    bool keep_alive;
    const char *retry_after;        /* or NULL */
    const struct mock_quota *quota; /* or NULL: no rate-limit headers */
    const struct mock_fault *fault; /* its quirks */
    const struct mock_options *options;
};

/* Appends the head with all that its quirks put before and into it. */
void mock_head_add(const struct mock_head *head, struct buf *out);
