/* answer.h -- what the gateway itself says to a client: errors in OpenAI's shape.
 *
 * The shape is that of https://platform.openai.com/docs/guides/error-codes, so
 * that the official SDKs raise their proper classes. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/slice.h"

struct client;

struct answer_error {
    int status;
    const char *type;    /* "invalid_request_error", "server_error", … */
    const char *code;    /* a short stable word */
    const char *param;   /* the member it is about, or NULL */
    const char *message; /* a sentence or two */
    int retry_after;     /* seconds; 0: not said */
    const char *allow;   /* methods, with a 405; or NULL */
};

/* The JSON object, appended to out. */
void answer_error_json(const struct answer_error *error, struct buf *out);

/* Replies with it; the client is not to be used afterwards. */
void answer_error(struct client *client, const struct answer_error *error);

/* Replies with JSON and no more than the headers that every reply has. */
void answer_json(struct client *client, int status, struct slice json);
