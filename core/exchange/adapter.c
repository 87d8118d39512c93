/* adapter.c -- from the client's bytes to a provider's request.
 *
 *   client's bytes -> policy's edits -> members refused here dropped -> model -> stream, usage */
/* SPDX-License-Identifier: MIT */
#include "adapter.h"
#include "leaves/mem.h"

static const char *const paths[ENDPOINT_COUNT] = {
    [ENDPOINT_CHAT] = "/chat/completions",
    [ENDPOINT_COMPLETIONS] = "/completions",
    [ENDPOINT_EMBEDDINGS] = "/embeddings",
};

bool adapter_adds_usage(const struct provider *provider, const struct body *body, bool stream)
{
    const struct body_member *options = body_get(body, "stream_options");
    struct slice name;

    if (!stream || !provider->include_usage)
        return false;
    if (!options || options->kind != JSON_OBJECT)
        return true;
    struct json json = json_init(options->value);
    for (json_enter_object(&json); json_next_member(&json, &name); json_skip(&json))
        if (json_string_is(name, "include_usage"))
            return false; /* the client has said what it wants */
    return true;
}

static void set_model(struct body_edits *edits, struct slice model)
{
    struct buf quoted = {0};

    json_quote(&quoted, model);
    body_edits_set(edits, "model", buf_slice(&quoted));
    buf_free(&quoted);
}

void adapter_prepare(const struct adapter_call *call, struct buf *out)
{
    struct body_edits edits = {0};

    if (call->edits)
        body_edits_add(&edits, call->edits);
    for (size_t i = 0; i < call->provider->drop_count; i++)
        if (body_get(call->body, call->provider->drop[i]))
            body_edits_drop(&edits, call->provider->drop[i]);
    set_model(&edits, call->model);

    if (call->stream && !body_is_true(call->body, "stream"))
        body_edits_set(&edits, "stream", SLICE("true"));
    if (call->add_usage)
        body_edits_set_inner(&edits, "stream_options", "include_usage", SLICE("true"));
    body_write(call->body, &edits, out);
    body_edits_free(&edits);
}

struct transfer *adapter_open(struct upstream *upstream, const struct adapter_call *call,
                              const struct upstream_handler *handler, void *arg)
{
    struct buf body = {0};
    struct upstream_header headers[ADAPTER_HEADERS + 1];
    struct upstream_request request = {
        .origin = call->provider->origin,
        .path = paths[call->endpoint],
        .body = &body,
        .headers = headers,
        .header_count = call->header_count,
    };

    for (size_t i = 0; i < call->header_count; i++)
        headers[i] = call->headers[i];
    if (call->provider->keys) {
        const struct provider_key *key = &call->provider->keys[call->key ? call->key - 1 : 0];
        headers[request.header_count++] = (struct upstream_header){key->name, key->value};
    }
    adapter_prepare(call, &body);
    return upstream_start(upstream, &request, handler, arg);
}
