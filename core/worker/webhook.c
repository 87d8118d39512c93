/* webhook.c -- one fetch after another, with pauses that grow.
 *
 *   IDLE -> WAITING -> TRYING -> IDLE
 *              ^----------'  [no 2xx, and it may get better] */
/* SPDX-License-Identifier: MIT */
#include "webhook.h"
#include "leaves/buf.h"
#include "leaves/mem.h"
#include "policy/config.h"
#include "provider/fetch.h"
#include <event2/event.h>
#include <event2/event_struct.h>

enum {
    TRY_MS = 10 * 1000, /* to the last byte of the answer */
    ANSWER_MAX = 65536, /* bytes of it, which nobody reads */
    LINES_MAX = 64,     /* headers of the configuration's */
};

/* Seconds before each try: a restart of whoever listens is waited for, a night is not. */
static const int pauses[] = {0, 1, 5, 25};

enum { TRIES = sizeof pauses / sizeof *pauses };

enum state { IDLE, WAITING, TRYING };

struct webhook {
    struct event_base *base;
    struct upstream *upstream;
    const struct webhook_owner *owner;
    void *arg;
    enum state state;
    struct buf json;
    struct fetch *fetch;
    struct webhook_result result;
    struct event timer;
};

static void on_timer(evutil_socket_t fd, short what, void *arg);

struct webhook *webhook_new(struct event_base *base, struct upstream *upstream,
                            const struct webhook_owner *owner, void *arg)
{
    struct webhook *webhook = mem_new(sizeof *webhook);

    webhook->base = base;
    webhook->upstream = upstream;
    webhook->owner = owner;
    webhook->arg = arg;
    event_assign(&webhook->timer, base, -1, 0, on_timer, webhook);
    return webhook;
}

void webhook_free(struct webhook *webhook)
{
    if (!webhook)
        return;
    event_del(&webhook->timer);
    fetch_free(webhook->fetch);
    buf_free(&webhook->json);
    mem_free(webhook);
}

bool webhook_is_busy(const struct webhook *webhook)
{
    return webhook->state != IDLE;
}

static void wait(struct webhook *webhook)
{
    struct timeval pause = {pauses[webhook->result.tries], 0};

    webhook->state = WAITING;
    event_add(&webhook->timer, &pause);
}

void webhook_send(struct webhook *webhook, struct slice json)
{
    buf_clear(&webhook->json);
    buf_add(&webhook->json, json);
    webhook->result = (struct webhook_result){0};
    wait(webhook);
}

static void finish(struct webhook *webhook)
{
    webhook->state = IDLE;
    webhook->owner->on_done(webhook->arg, &webhook->result);
}

/* What the same bytes may fare better with later. */
static bool may_get_better(int status)
{
    return status == 0 || status == 408 || status == 429 || status >= 500;
}

static void on_fetched(void *arg)
{
    struct webhook *webhook = arg;
    struct fetch_result got = fetch_result(webhook->fetch);

    webhook->result.status = got.status;
    webhook->result.is_taken = got.status >= 200 && got.status < 300;
    webhook->result.why = got.err ? got.message : "the answer is no success";
    fetch_free(webhook->fetch);
    webhook->fetch = NULL;
    if (!webhook->result.is_taken && may_get_better(got.status) && webhook->result.tries < TRIES)
        wait(webhook);
    else
        finish(webhook);
}

static struct fetch *fetch(struct webhook *webhook, const struct config_webhook *whom)
{
    const char *lines[LINES_MAX + 1] = {"Content-Type: application/json"};
    struct fetch_request request = {
        .base = whom->base,
        .method = "POST",
        .headers = lines,
        .header_count = 1,
        .body = buf_slice(&webhook->json),
        .timeout_ms = TRY_MS,
        .max = ANSWER_MAX,
        .public_only = !whom->is_private,
    };
    struct buf path = {0};

    for (size_t i = 0; i < whom->header_count && i < LINES_MAX; i++)
        lines[request.header_count++] = whom->headers[i];
    buf_reserve(&path, strlen(whom->path) + 2); /* it may be a secret: no copy is left behind */
    buf_add_format(&path, "%s%s", whom->path[0] == '/' ? "" : "/", whom->path);
    buf_add_char(&path, '\0');
    request.path = path.ptr;
    struct fetch *began =
        fetch_start(webhook->base, webhook->upstream, &request, on_fetched, webhook);
    explicit_bzero(path.base, path.capacity);
    buf_free(&path);
    return began;
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct webhook *webhook = arg;
    const struct config_webhook *whom = webhook->owner->whom(webhook->arg);

    webhook->state = TRYING;
    webhook->result.tries++;
    webhook->fetch = whom->base ? fetch(webhook, whom) : NULL;
    if (webhook->fetch)
        return;
    webhook->result.why = whom->base ? "the URL cannot be read" : "there is none any more";
    finish(webhook);
}
