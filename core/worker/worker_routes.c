/* worker_routes.c -- the surface that clients are served: who may come in, and what is where. */
/* SPDX-License-Identifier: MIT */
#include "accounts/bill.h"
#include "client/answer.h"
#include "generations.h"
#include "metrics/tally.h"
#include "parsers/json.h"
#include "policy/policy.h"
#include "visitor.h"
#include "worker_own.h"

typedef void route_serve(struct worker *worker, struct client *client, const char *key_name);

static route_serve serve_chat, serve_completions, serve_embeddings, serve_models, serve_model,
    serve_key, serve_health, serve_ready;

/* Paths below /v1 are also served below /openai/v1, where some SDKs ask. */
static const struct route {
    const char *path;
    enum client_method method;
    bool open; /* without a key */
    route_serve *serve;
} routes[] = {
    {"/v1/chat/completions", CLIENT_POST, false, serve_chat},
    {"/v1/completions", CLIENT_POST, false, serve_completions},
    {"/v1/embeddings", CLIENT_POST, false, serve_embeddings},
    {"/v1/models", CLIENT_GET, false, serve_models},
    {"/v1/models/", CLIENT_GET, false, serve_model}, /* and a name */
    {"/v1/key", CLIENT_GET, false, serve_key},       /* the caller's own */
    {"/healthz", CLIENT_GET, true, serve_health},
    {"/readyz", CLIENT_GET, true, serve_ready},
};

static struct slice without_alias(struct slice path)
{
    static const struct slice alias = {"/openai", 7};

    if (path.len > alias.len + 3 && memcmp(path.ptr, "/openai/v1", alias.len + 3) == 0) {
        path.ptr += alias.len;
        path.len -= alias.len;
    }
    return path;
}

static struct slice api_path(struct client *client)
{
    return without_alias(client_path(client));
}

/* ---- what is served ---- */

static bool is_full(struct worker *worker, struct client *client)
{
    if (worker->world.count < worker_config(worker)->limit_in_flight)
        return false;
    answer_error(client, &(struct answer_error){.status = 503,
                                                .type = "server_error",
                                                .code = "too_many_requests_in_flight",
                                                .message = "the gateway is serving as many "
                                                           "requests as it may; try again",
                                                .retry_after = 1});
    return true;
}

static void serve_endpoint(struct worker *worker, struct client *client, enum endpoint endpoint,
                           const char *key_name)
{
    if (is_full(worker, client))
        return;
    if (generation_is_spent(worker->world.generation))
        generations_renew(worker->generations, generation_number(worker->world.generation));
    exchange_start(&worker->world, client, endpoint, key_name,
                   worker->caller.number ? &worker->caller : NULL);
}

static void serve_chat(struct worker *worker, struct client *client, const char *key_name)
{
    serve_endpoint(worker, client, ENDPOINT_CHAT, key_name);
}

static void serve_completions(struct worker *worker, struct client *client, const char *key_name)
{
    serve_endpoint(worker, client, ENDPOINT_COMPLETIONS, key_name);
}

static void serve_embeddings(struct worker *worker, struct client *client, const char *key_name)
{
    serve_endpoint(worker, client, ENDPOINT_EMBEDDINGS, key_name);
}

/* Of a virtual key, what it and its team name. */
static bool may_ask(void *arg, struct slice model)
{
    struct worker *worker = arg;

    return !worker->caller.number || bills_allow(worker->world.bills, &worker->caller, model);
}

static void serve_models(struct worker *worker, struct client *client, const char *key_name)
{
    struct buf json = {0};

    generation_models(worker->world.generation, may_ask, worker, &json);
    answer_json(client, 200, buf_slice(&json));
    buf_free(&json);
}

static void serve_model(struct worker *worker, struct client *client, const char *key_name)
{
    static const size_t prefix = sizeof "/v1/models/" - 1;
    struct slice path = api_path(client);
    struct slice name = {path.ptr + prefix, path.len - prefix};
    struct buf json = {0};

    if (may_ask(worker, name) && generation_model(worker->world.generation, name, &json))
        answer_json(client, 200, buf_slice(&json));
    else
        answer_error(client, &(struct answer_error){.status = 404,
                                                    .type = "invalid_request_error",
                                                    .code = "model_not_found",
                                                    .param = "model",
                                                    .message = "no model of that name is "
                                                               "configured here"});
    buf_free(&json);
}

static void serve_key(struct worker *worker, struct client *client, const char *key_name)
{
    struct buf json = {0};

    if (worker->caller.number) {
        bills_show(worker->world.bills, &worker->caller, &json);
    } else { /* of the configuration's, which have no limits; or the gateway has none */
        buf_add_text(&json, "{\"object\":\"key\",\"name\":");
        if (key_name)
            json_quote(&json, slice_of(key_name));
        else
            buf_add_text(&json, "null");
        buf_add_char(&json, '}');
    }
    answer_json(client, 200, buf_slice(&json));
    buf_free(&json);
}

static void serve_health(struct worker *worker, struct client *client, const char *key_name)
{
    answer_json(client, 200, SLICE("{\"status\":\"ok\"}"));
}

static void serve_ready(struct worker *worker, struct client *client, const char *key_name)
{
    struct buf json = {0};

    const char *refused = generations_refused(worker->generations);

    buf_add_format(&json, "{\"status\":\"%s\",\"generation\":%u",
                   worker->draining ? "draining" : "ok",
                   generation_number(worker->world.generation));
    if (refused) { /* it can serve all the same */
        buf_add_text(&json, ",\"reload\":{\"refused\":");
        json_quote(&json, slice_of(refused));
        buf_add_char(&json, '}');
    }
    buf_add_char(&json, '}');
    answer_json(client, worker->draining ? 503 : 200, buf_slice(&json));
    buf_free(&json);
}

/* ---- who asks, and for what ---- */

/* Whether the client's key, or the lack of one, will do; then key_name and the worker's caller say
 * whose it is. */
static bool is_let_in(struct worker *worker, struct client *client, const char **key_name)
{
    struct slice said = client_header(client, "authorization");
    struct visitor_door door = {worker_config(worker), worker->world.bills};

    if (visitor_is_known(&door, said, client_pass(client), &worker->caller, key_name))
        return true;
    struct answer_error refusal = visitor_refusal(&door, said);
    tally_count(worker->unauthorized, refusal.status == 401);
    answer_error(client, &refusal);
    return false;
}

static void refuse_path(struct client *client, const struct route *other)
{
    struct buf message = {0};

    buf_add_text(&message, other ? "this method is not served at " : "nothing is served at ");
    buf_add(&message, client_path(client));
    buf_add_char(&message, '\0');
    answer_error(client, &(struct answer_error){.status = other ? 405 : 404,
                                                .type = "invalid_request_error",
                                                .code = other ? "method_not_allowed" : "not_found",
                                                .message = message.ptr,
                                                .allow = !other                         ? NULL
                                                         : other->method == CLIENT_POST ? "POST"
                                                                                        : "GET"});
    buf_free(&message);
}

static bool is_at(const struct route *route, struct slice path)
{
    size_t len = strlen(route->path);

    if (route->path[len - 1] == '/')
        return path.len > len && memcmp(path.ptr, route->path, len) == 0;
    return slice_is(path, route->path);
}

/* What is refused here would be by is_let_in, but with its body read. */
const char *worker_screen(void *arg, const struct client_head *head, int32_t *pass)
{
    struct worker *worker = arg;
    struct slice path = without_alias(head->path);
    struct visitor_door door = {worker_config(worker), worker->world.bills};
    const char *refusal = NULL;

    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        if (is_at(&routes[i], path) && routes[i].method == head->method)
            refusal = routes[i].open ? NULL : visitor_screen(&door, head->authorization, pass);
    tally_count(worker->unauthorized, refusal != NULL);
    return refusal;
}

void worker_on_request(void *arg, struct client *client)
{
    struct worker *worker = arg;
    struct slice path = api_path(client);
    const struct route *other = NULL;
    const char *key_name = NULL;

    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        const struct route *route = &routes[i];
        if (!is_at(route, path))
            continue;
        if (route->method != client_method(client))
            other = route;
        else if (route->open || is_let_in(worker, client, &key_name)) {
            route->serve(worker, client, key_name);
            return;
        } else {
            return;
        }
    }
    refuse_path(client, other);
}
