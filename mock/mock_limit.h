/* mock_limit.h -- rate limits: who asked how often, and how each provider
 * says what is left (its headers, its formats). */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "mock_options.h"
#include <stdint.h>

struct mock_quota { /* a plain value: what the headers say */
    int limit[2];   /* of requests, of tokens */
    int left[2];
    int reset_ms; /* until the window ends */
};

/* Counts one request to a model and says whether it is within the limit.
 * *number is how many this one makes, from 1. */
bool mock_limit_take(const struct mock_options *options, struct slice model, uint64_t now_us,
                     struct mock_quota *quota, int *number);

/* Forgets all that was counted. */
void mock_limit_clear(void);

/* Appends the headers that the provider sends with a success or a 429. */
void mock_limit_add(struct buf *out, const char *provider, const struct mock_quota *quota,
                    bool refused);

bool mock_limit_known(const char *provider);
void mock_limit_help(struct buf *out);
