/* exchange_commit.c -- the policy is done: what it returned becomes the client's answer. */
/* SPDX-License-Identifier: MIT */
#include "client/answer.h"
#include "exchange_own.h"
#include "leaves/loop.h"
#include "parsers/head.h"

static void add_number(struct buf *headers, const char *name, unsigned number)
{
    struct buf text = {0};

    buf_add_number(&text, number);
    head_add(headers, name, buf_slice(&text));
    buf_free(&text);
}

static void add_headers(const struct exchange *x, struct buf *headers)
{

    head_add(headers, "x-request-id", slice_of(x->request.id));
    if (x->committed) {
        head_add(headers, "x-weir-target", attempt_target(x->attempt));
        policy_add_ratelimit(x->policy, attempt_provider(x->attempt), x->attempt, headers);
    }
    add_number(headers, "x-weir-attempts", (unsigned)x->trail.count);
    if (x->request.bill && bill_is_low(x->request.bill))
        head_add(headers, "x-weir-budget", SLICE("low"));
    add_number(headers, "x-weir-generation", generation_number(x->generation));
}

static void say_filter_failed(struct exchange *x)
{
    struct answer_error error = {
        .status = 500,
        .type = "server_error",
        .code = policy_code(x->policy),
        .message = policy_sentence(x->policy),
    };
    struct client *client = x->client;

    if (strcmp(error.code, "policy_timeout") == 0) {
        error.status = 503;
        error.retry_after = 5;
    }
    exchange_store_error(x, &error);
    exchange_finish(x, error.status, error.code);
    answer_error(client, &error);
}

static void send_plain(struct exchange *x)
{
    struct buf headers = {0};

    head_add(&headers, "content-type", SLICE("application/json"));
    add_headers(x, &headers);
    x->first_us = loop_now_us();
    struct client *client = x->client;
    exchange_store_answer(x, buf_slice(&x->waiting));
    exchange_finish(x, 200, "ok"); /* before the reply: res:on_end may read the request's headers */
    client_reply(client, 200, buf_slice(&headers), buf_slice(&x->waiting));
    buf_free(&headers);
}

/* The answer is in x->waiting, which the filters change. */
void exchange_settle_plain(struct exchange *x, enum policy_filtered filtered)
{
    x->filtering = filtered == POLICY_FILTER_WAITS;
    if (x->filtering)
        return;
    x->erred = x->erred || filtered == POLICY_FILTER_FAILED;
    if (filtered == POLICY_FILTER_FAILED && !generation_config(x->generation)->on_error_open)
        say_filter_failed(x);
    else
        send_plain(x);
}

static void commit_plain(struct exchange *x)
{
    attempt_take_body(x->attempt, &x->waiting);
    if (policy_has_filters(x->policy))
        exchange_settle_plain(x, policy_filter_answer(x->policy, &x->waiting));
    else
        send_plain(x);
}

static void commit_stream(struct exchange *x)
{
    struct buf headers = {0};

    head_add(&headers, "content-type", SLICE("text/event-stream"));
    head_add(&headers, "cache-control", SLICE("no-cache"));
    head_add(&headers, "x-accel-buffering", SLICE("no"));
    add_headers(x, &headers);
    client_stream_start(x->client, 200, buf_slice(&headers));
    buf_free(&headers);
    exchange_set_state(x, STREAMING);
    x->first_us = loop_now_us();
    if (policy_may_go_on(x->policy)) {
        x->said = mem_new(sizeof *x->said);
    } else {
        policy_slim(x->policy);
        body_fini(&x->body); /* nothing is sent again */
        buf_free(&x->bytes);
    }
    attempt_stream(x->attempt); /* may finish x */
}

static void reply(struct exchange *x, const struct policy_result *result)
{
    struct buf headers = {0};

    buf_add(&headers, result->headers);
    add_headers(x, &headers);
    exchange_store_answer(x, result->body);
    struct client *client = x->client;
    exchange_finish(x, result->status, result->code ? result->code : "reply");
    client_reply(client, result->status, buf_slice(&headers), result->body);
    buf_free(&headers);
}

void exchange_on_finish(void *arg, const struct policy_result *result)
{
    struct exchange *x = arg;

    if (x->broken) {
        exchange_join(x, result);
        return;
    }
    if (result->kind == POLICY_REPLY) {
        reply(x, result);
        return;
    }
    x->committed = true;
    if (attempt_is_stream(x->attempt))
        commit_stream(x);
    else
        commit_plain(x);
}
