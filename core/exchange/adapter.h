/* adapter.h -- opens an attempt: the client's body made fit for one provider, and sent.
 *
 * It prepares the body as for a plain request and only then asks for a stream,
 * so that preparation is never lost; it hands back the transfer with its head
 * to come and its body unread: reading is the attempt's affair.  What differs
 * between providers is data (struct provider, from lua/weir/providers/). */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "parsers/body.h"
#include "policy/config.h"
#include "provider/upstream.h"

enum { ADAPTER_HEADERS = 8 };

struct adapter_call {
    const struct provider *provider;
    enum endpoint endpoint;
    struct slice model;             /* at the provider */
    const struct body *body;        /* the client's bytes */
    const struct body_edits *edits; /* the policy's; NULL: none */
    bool stream;
    bool add_usage; /* ask for the usage chunk that the client did not ask for */
    const struct upstream_header *headers; /* of this request alone; at most ADAPTER_HEADERS */
    size_t header_count;
    int key; /* which of the provider's, from 1, where it has several */
};

/* Whether the usage chunk has to be asked for, and so hidden from the client. */
bool adapter_adds_usage(const struct provider *provider, const struct body *body, bool stream);

/* The body that goes out, appended to out. */
void adapter_prepare(const struct adapter_call *call, struct buf *out);

/* Prepares and starts; handler's promises are upstream.h's.  on_open tells how long connecting
 * took. */
struct transfer *adapter_open(struct upstream *upstream, const struct adapter_call *call,
                              const struct upstream_handler *handler, void *arg);
