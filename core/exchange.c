/* exchange.c -- one request, from the client's last byte in to its last byte out.
 *
 *             +------ on_fail: the policy goes on ------+
 *             v                                         |
 *   start -> DECIDING ------ on_send ------------> CALLING
 *             |  ^  \                                   |
 *             |  |   +-- on_sleep --> SLEEPING          | on_commit
 *             |  +------- on_wake -------+              |
 *             |  +--------------------------------------+
 *             |
 *             +-- on_finish: a stream --> STREAMING --> DONE
 *             |                               |
 *             +<-- on_broken: who goes on? ---+
 *             +-- on_finish: a reply, or a plain answer ---> DONE
 *
 * DECIDING  -> CALLING   [on_send]     the policy picked a target; or several [on_race]
 * CALLING   -> DECIDING  [on_fail]     it may pick another: the client has seen nothing
 * CALLING   -> DECIDING  [on_commit]   the answer has begun; the policy has it
 * DECIDING  -> SLEEPING  [on_sleep]
 * SLEEPING  -> DECIDING  [on_wake]
 * DECIDING  -> STREAMING [commit_stream]  the commit point: nothing is replayed from here on
 * STREAMING -> DECIDING  [on_broken]   it broke, and res:on_break was used: x->broken is set until
 * DECIDING  -> STREAMING [join_or_break]  another target's stream goes on in its place
 * STREAMING and DECIDING also wait for a filter that sleeps, with x->filtering set
 * (any)     -> DONE      [finish]      freed on the next turn of the loop */
/* SPDX-License-Identifier: MIT */
#include "exchange.h"
#include "answer.h"
#include "attempt.h"
#include "charge.h"
#include "client.h"
#include "fetch.h"
#include "head.h"
#include "log.h"
#include "loop.h"
#include "mem.h"
#include "policy.h"
#include "ration.h"
#include "said.h"
#include <assert.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdio.h>

enum {
    QUEUE_HIGH = 256 * 1024, /* bytes the client does not take: the provider waits */
    TRAIL_MAX = 64,          /* attempts one request may make */
};

enum exchange_state { DECIDING, CALLING, SLEEPING, STREAMING, DONE };

struct trail_item {
    char *target;
    char code[32];
    int key; /* which of the provider's, where it has several; else 0 */
    int status;
    int64_t ms;
    int64_t again_us; /* when it may be tried again; 0: unknown */
};

struct racer { /* one target of a race */
    const struct provider *provider;
    char *target, *model;
    struct timeouts timeout;
    enum commit commit;
    struct attempt *attempt; /* NULL: is not running */
};

struct race { /* attempts of which the first to commit wins */
    struct racer *racers;
    size_t count, started, running;
    double after; /* seconds between two starts */
    const struct body_edits *edits;
};

struct exchange {
    struct exchange_world *world;
    struct generation *generation;
    struct client *client; /* NULL once it is gone or answered */
    struct policy *policy;
    struct attempt *attempt; /* the one that is open, or committed */
    struct race *race;       /* while one is on */
    struct fetch *fetch;     /* a policy's or a filter's own; the last one */
    struct buf bytes;        /* the request's body, until the commit point */
    struct body body;
    struct buf model;
    struct policy_request request;
    struct trail_item *trail;
    size_t trail_count;
    struct event timer; /* sleeping; and freeing on the next turn */
    int64_t started_us, first_us;
    enum exchange_state state;
    bool failed;    /* a filter failed: the stream ends */
    bool erred;     /* a filter failed, whatever followed */
    bool filtering; /* a filter waits, with the event or answer kept in waiting */
    bool hides;     /* what waits is not for the client */
    bool unended;   /* it was the stream's last, and no blank line ended it */
    struct buf waiting;
    bool committed;           /* the attempt's answer is the client's */
    struct said *said;        /* by the stream; NULL: it does not go on when it breaks */
    struct attempt *broken;   /* the committed one, while the policy looks for who goes on */
    struct chunk_usage spent; /* by those that broke */
    struct {                  /* what broke it */
        char code[32], message[256];
    } wrong;
    bool joined; /* the attempt goes on with another's stream */
    char id[32]; /* the client's; outlives it for the log */
    TAILQ_ENTRY(exchange) link;
};

static const struct policy_host host;
static const struct attempt_owner attempt_owner;
static const struct client_owner client_owner;

static void resume_filter(struct exchange *x);
static void join_or_break(struct exchange *x, const struct policy_result *result);

static void set_state(struct exchange *x, enum exchange_state state)
{
    assert(x->state != DONE);
    x->state = state;
}

/* ---- the end ---- */

static struct chunk_usage usage_of(const struct exchange *x)
{
    struct chunk_usage usage = attempt_usage(x->attempt);

    chunk_usage_add(&usage, &x->spent);
    return usage;
}

/* Frees an attempt of x's; accepts NULL. */
static void drop_attempt(struct exchange *x, struct attempt *attempt)
{
    if (!attempt)
        return;
    charge_end(x->world->limits, attempt);
    attempt_free(attempt);
}

static void race_free(struct exchange *x)
{
    if (!x->race)
        return;
    for (size_t i = 0; i < x->race->count; i++) {
        drop_attempt(x, x->race->racers[i].attempt);
        mem_free(x->race->racers[i].target);
        mem_free(x->race->racers[i].model);
    }
    mem_free(x->race->racers);
    mem_free(x->race);
    x->race = NULL;
}

static void free_now(evutil_socket_t fd, short what, void *arg)
{
    struct exchange *x = arg;

    event_del(&x->timer);
    policy_free(x->policy);
    race_free(x);
    fetch_free(x->fetch);
    drop_attempt(x, x->attempt);
    drop_attempt(x, x->broken);
    if (x->said)
        said_fini(x->said);
    mem_free(x->said);
    body_fini(&x->body);
    buf_free(&x->bytes);
    buf_free(&x->model);
    buf_free(&x->waiting);
    for (size_t i = 0; i < x->trail_count; i++)
        mem_free(x->trail[i].target);
    mem_free(x->trail);
    TAILQ_REMOVE(&x->world->live, x, link);
    x->world->count--;
    generation_free(x->generation);
    mem_free(x);
}

static void log_request(struct exchange *x, int status, const char *code)
{
    static const char *const endpoints[] = {"chat", "completions", "embeddings"};
    int64_t now_us = loop_now_us();

    if (!log_wants(LOG_INFO))
        return;
    struct log_line line = log_begin(LOG_INFO, "request");
    log_str(&line, "id", x->request.id);
    log_str(&line, "key", x->request.key_name);
    log_str(&line, "endpoint", endpoints[x->request.endpoint]);
    log_text(&line, "model", x->request.model);
    log_bool(&line, "stream", x->request.stream);
    log_int(&line, "status", status);
    log_str(&line, "code", code);
    if (x->committed)
        log_text(&line, "target", attempt_target(x->attempt));
    log_int(&line, "attempts", (int64_t)x->trail_count);
    if (x->first_us)
        log_ms(&line, "first_ms", x->first_us - x->started_us);
    log_ms(&line, "total_ms", now_us - x->started_us);
    if (x->committed) {
        struct chunk_usage usage = usage_of(x);
        if (usage.prompt >= 0)
            log_int(&line, "prompt_tokens", usage.prompt);
        if (usage.completion >= 0)
            log_int(&line, "completion_tokens", usage.completion);
    }
    log_int(&line, "generation", generation_number(x->generation));
    log_end(&line);
}

/* Whether the generation's policies may be to blame for how it ended. */
static bool is_error(const struct exchange *x, int status, const char *code)
{
    return x->erred || status >= 500 || strncmp(code, "policy_", 7) == 0;
}

/* Everything that can still happen stops here; what is said to the client was said. */
static void finish(struct exchange *x, int status, const char *code)
{
    if (x->state == DONE)
        return;
    log_request(x, status, code);
    if (x->policy && x->world->on_ended && x->client)
        x->world->on_ended(x->world->arg, x->generation, is_error(x, status, code));
    if (x->policy) {
        struct policy_end end = {
            .usage = x->committed ? usage_of(x) : chunk_usage_none(),
            .first_ms = x->first_us ? (x->first_us - x->started_us) / 1000 : 0,
            .total_ms = (loop_now_us() - x->started_us) / 1000,
            .code = code,
        };
        policy_end(x->policy, &end);
    }
    set_state(x, DONE);
    x->client = NULL;
    if (x->attempt)
        attempt_close(x->attempt);
    for (size_t i = 0; x->race && i < x->race->count; i++)
        if (x->race->racers[i].attempt)
            attempt_close(x->race->racers[i].attempt);
    fetch_free(x->fetch);
    x->fetch = NULL;
    event_del(&x->timer);
    event_assign(&x->timer, x->world->base, -1, 0, free_now, x);
    event_active(&x->timer, EV_TIMEOUT, 0);
}

/* ---- the trail ---- */

static void log_attempt(struct exchange *x, const struct trail_item *item,
                        const struct attempt *attempt, const char *message, bool alarm)
{
    enum log_level level = alarm ? LOG_ERROR : LOG_INFO;

    if (!log_wants(level))
        return;
    struct log_line line = log_begin(level, "attempt");
    log_str(&line, "id", x->request.id);
    log_str(&line, "target", item->target);
    log_str(&line, "outcome", item->code);
    if (item->key)
        log_int(&line, "provider_key", item->key);
    if (item->status)
        log_int(&line, "status", item->status);
    if (attempt_open_us(attempt) >= 0)
        log_ms(&line, "connect_ms", attempt_open_us(attempt));
    if (attempt_commit_us(attempt) >= 0)
        log_ms(&line, "first_ms", attempt_commit_us(attempt));
    log_ms(&line, "ms", attempt_age_us(attempt));
    log_str(&line, "message", message);
    if (alarm)
        log_bool(&line, "alarm", true);
    log_end(&line);
}

static struct trail_item *add_trail(struct exchange *x, struct attempt *attempt, const char *code,
                                    int status)
{
    x->trail = mem_resize(x->trail, (x->trail_count + 1) * sizeof *x->trail);
    struct trail_item *item = &x->trail[x->trail_count++];

    item->target = mem_dup(attempt_target(attempt));
    snprintf(item->code, sizeof item->code, "%s", code);
    item->key = attempt_provider(attempt)->keys ? attempt_grant(attempt)->key : 0;
    item->status = status;
    item->ms = attempt_age_us(attempt) / 1000;
    item->again_us = 0;
    return item;
}

static size_t trail_of(void *arg, const struct policy_trail_entry **entries)
{
    static struct policy_trail_entry shown[TRAIL_MAX];
    struct exchange *x = arg;

    int64_t now_us = loop_now_us();

    for (size_t i = 0; i < x->trail_count; i++) {
        const struct trail_item *item = &x->trail[i];
        double wait = item->again_us ? (double)(item->again_us - now_us) / 1e6 : -1;
        shown[i] = (struct policy_trail_entry){
            slice_of(item->target), item->code, item->key,
            item->status,           item->ms,   item->again_us && wait < 0 ? 0 : wait};
    }
    *entries = shown;
    return x->trail_count;
}

/* ---- the policy sends ---- */

/* Headers of the client's that a provider gets: what makes a retry safe to it, and a trace. */
static size_t forwarded_headers(const struct exchange *x, struct upstream_header *headers,
                                size_t most)
{
    static const char *const names[] = {"idempotency-key", "traceparent", "tracestate"};
    size_t count = 0;

    for (size_t i = 0; i < sizeof names / sizeof *names && count < most; i++) {
        struct slice value = client_header(x->client, names[i]);
        if (value.len)
            headers[count++] = (struct upstream_header){names[i], value.ptr};
    }
    return count;
}

static struct attempt *start_attempt(struct exchange *x, const struct policy_send *send)
{
    struct upstream_header headers[3];
    const struct timeouts *general = &generation_config(x->generation)->timeout;
    struct attempt_new made = {
        .base = x->world->base,
        .upstream = x->world->upstream,
        .call = {.provider = send->provider,
                 .endpoint = x->request.endpoint,
                 .model = send->model,
                 .body = send->body,
                 .edits = send->edits,
                 .stream = x->request.stream,
                 .add_usage = adapter_adds_usage(send->provider, send->body, x->request.stream),
                 .headers = headers,
                 .header_count = forwarded_headers(x, headers, 3),
                 .key = send->grant.key},
        .target = send->target,
        .grant = send->grant,
        .timeout = send->timeout,
        .commit = send->commit,
        .deadline_us = general->total_ms ? x->started_us + general->total_ms * 1000 : 0,
        .owner = &attempt_owner,
        .arg = x,
    };
    return attempt_new(&made);
}

static void on_send(void *arg, const struct policy_send *send)
{
    struct exchange *x = arg;

    set_state(x, CALLING);
    x->attempt = start_attempt(x, send);
}

/* Nothing of the client's goes with it: an idempotency key would make it the request itself. */
static void on_shadow(void *arg, const struct policy_send *send)
{
    struct exchange *x = arg;
    const struct timeouts *general = &generation_config(x->generation)->timeout;
    struct shadow_new made = {
        .base = x->world->base,
        .upstream = x->world->upstream,
        .generation = x->generation,
        .limits = x->world->limits,
        .id = x->request.id,
        .call = {.provider = send->provider,
                 .endpoint = x->request.endpoint,
                 .model = send->model,
                 .body = send->body,
                 .edits = send->edits,
                 .stream = x->request.stream,
                 .add_usage = adapter_adds_usage(send->provider, send->body, x->request.stream),
                 .key = send->grant.key},
        .target = send->target,
        .grant = send->grant,
        .timeout = send->timeout,
        .deadline_us = general->total_ms ? x->started_us + general->total_ms * 1000 : 0,
    };
    shadow_start(&x->world->shadows, &made);
}

/* ---- the policy races ---- */

static void wait_for(struct exchange *x, double seconds);

static void run_racer(struct exchange *x, struct racer *racer, const struct grant *grant)
{
    struct race *race = x->race;
    struct policy_send send = {
        .provider = racer->provider,
        .target = slice_of(racer->target),
        .model = slice_of(racer->model),
        .timeout = racer->timeout,
        .commit = racer->commit,
        .grant = *grant,
        .body = &x->body,
        .edits = race->edits,
    };

    racer->attempt = start_attempt(x, &send);
    race->running++;
    if (race->started < race->count)
        wait_for(x, race->after);
}

/* The next that may be tried now: meanwhile it may have begun to cool. */
static void start_racer(struct exchange *x)
{
    struct race *race = x->race;
    struct limits_wait wait;
    struct grant grant;

    while (race->started < race->count) {
        struct racer *racer = &race->racers[race->started++];
        if (!ration_take(x->world->limits, racer->provider, slice_of(racer->model), &x->body, false,
                         &grant, &wait))
            continue;
        run_racer(x, racer, &grant);
        return;
    }
}

static void on_race(void *arg, const struct policy_send *sends, size_t count, double after)
{
    struct exchange *x = arg;

    set_state(x, CALLING);
    x->race = mem_new(sizeof *x->race);
    x->race->racers = mem_new(count * sizeof *x->race->racers);
    x->race->count = count;
    x->race->after = after;
    x->race->edits = sends[0].edits;
    for (size_t i = 0; i < count; i++)
        x->race->racers[i] = (struct racer){.provider = sends[i].provider,
                                            .target = mem_dup(sends[i].target),
                                            .model = mem_dup(sends[i].model),
                                            .timeout = sends[i].timeout,
                                            .commit = sends[i].commit};
    x->race->started = 1;
    run_racer(x, &x->race->racers[0], &sends[0].grant);
}

/* One of the race failed and was judged.  True when others still run. */
static bool race_goes_on(struct exchange *x, const struct attempt *failed)
{
    struct race *race = x->race;

    for (size_t i = 0; i < race->count; i++)
        if (race->racers[i].attempt == failed)
            race->racers[i].attempt = NULL;
    race->running--;
    event_del(&x->timer);
    if (race->started < race->count)
        start_racer(x);
    if (race->running)
        return true;
    race_free(x);
    return false;
}

/* The winner is x's attempt from here on; the others are closed at once. */
static void race_win(struct exchange *x, struct attempt *winner)
{
    struct race *race = x->race;

    event_del(&x->timer);
    for (size_t i = 0; i < race->count; i++) {
        struct attempt *attempt = race->racers[i].attempt;
        if (attempt && attempt != winner && x->trail_count < TRAIL_MAX)
            log_attempt(x, add_trail(x, attempt, "cancelled", 0), attempt, NULL, false);
        if (attempt == winner)
            race->racers[i].attempt = NULL;
    }
    race_free(x);
    x->attempt = winner;
}

static struct policy_outcome judge(struct exchange *x, struct attempt *attempt,
                                   const struct attempt_fault *fault)
{
    struct policy_fault seen = {
        .provider = attempt_provider(attempt),
        .target = attempt_target(attempt),
        .fault = fault->fault,
        .phase = fault->phase,
        .status = fault->status,
        .body = fault->body,
        .message = fault->message,
        .attempt = attempt_transfer(attempt) ? attempt : NULL,
        .was_sent = attempt_was_sent(attempt),
    };
    return policy_judge(x->policy, &seen);
}

/* What closed one key may have left another open. */
static void note_other_key(struct exchange *x, struct attempt *attempt)
{
    const struct provider *provider = attempt_provider(attempt);
    size_t skip = strlen(provider->name) + 1;
    struct slice model = attempt_target(attempt);
    struct limits_wait wait;

    model.ptr += skip;
    model.len -= skip;
    if (provider->keys && ration_check(x->world->limits, provider, model, &x->body, &wait))
        policy_note_other_key(x->policy);
}

static void on_fail(void *arg, struct attempt *attempt, const struct attempt_fault *fault)
{
    struct exchange *x = arg;
    struct policy_outcome outcome = judge(x, attempt, fault);
    int status = fault->status == 200 ? 0 : fault->status;
    double cools = charge_fail(x->world->limits, x->generation, attempt, fault, &outcome);

    if (x->trail_count < TRAIL_MAX) {
        struct trail_item *item = add_trail(x, attempt, outcome.code, status);
        double wait = cools > 0 ? cools : outcome.retry_after;
        item->again_us = wait >= 0 ? loop_now_us() + (int64_t)(wait * 1e6) : 0;
        log_attempt(x, item, attempt, outcome.message, outcome.alarm);
    }
    if (cools > 0 && outcome.scope != GRANT_OF_TARGET)
        note_other_key(x, attempt);
    bool goes_on = x->race && race_goes_on(x, attempt);
    if (x->attempt == attempt)
        x->attempt = NULL;
    drop_attempt(x, attempt);
    if (goes_on)
        return;
    set_state(x, DECIDING);
    policy_resume_failure(x->policy); /* may finish x: nothing after this */
}

static void on_commit(void *arg, struct attempt *attempt)
{
    struct exchange *x = arg;
    struct policy_answer answer = {
        .attempt = attempt,
        .target = attempt_target(attempt),
        .status = attempt_status(attempt),
        .stream = attempt_is_stream(attempt),
    };

    charge_commit(x->world->limits, x->generation, attempt);
    if (x->trail_count < TRAIL_MAX) {
        struct trail_item *item = add_trail(x, attempt, "ok", attempt_status(attempt));
        log_attempt(x, item, attempt, NULL, false);
    }
    if (x->race)
        race_win(x, attempt);
    set_state(x, DECIDING);
    policy_resume_answer(x->policy, &answer); /* may finish x */
}

static void on_attempt_dropped(void *arg, void *attempt)
{
    struct exchange *x = arg;

    if (x->attempt == attempt)
        x->attempt = NULL;
    drop_attempt(x, attempt);
}

static void each_header(void *arg, void *attempt,
                        void (*visit)(void *visit_arg, struct slice name, struct slice value),
                        void *visit_arg)
{
    struct transfer *transfer = attempt_transfer(attempt);
    struct slice name, value;
    size_t at = 0;

    while (transfer && upstream_next_header(transfer, &at, &name, &value))
        visit(visit_arg, name, value);
}

/* ---- the policy sleeps ---- */

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct exchange *x = arg;

    if (x->filtering) {
        resume_filter(x);
        return;
    }
    if (x->race) {
        start_racer(x);
        return;
    }
    set_state(x, DECIDING);
    policy_resume_sleep(x->policy); /* may finish x */
}

static void on_fetched(void *arg)
{
    on_wake(-1, 0, arg);
}

static void wait_for(struct exchange *x, double seconds)
{
    struct timeval wait = {(time_t)seconds,
                           (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)};

    event_assign(&x->timer, x->world->base, -1, 0, on_wake, x);
    event_add(&x->timer, &wait);
}

static bool on_fetch(void *arg, const struct fetch_request *request)
{
    struct exchange *x = arg;

    fetch_free(x->fetch);
    x->fetch = fetch_start(x->world->base, x->world->upstream, request, on_fetched, x);
    if (x->fetch && !x->committed)
        set_state(x, SLEEPING);
    return x->fetch != NULL;
}

static void fetched(void *arg, struct fetch_result *result)
{
    const struct exchange *x = arg;

    if (x->fetch)
        *result = fetch_result(x->fetch);
}

static void on_sleep(void *arg, double seconds)
{
    struct exchange *x = arg;

    if (!x->committed) /* else a filter waits, and the state stays */
        set_state(x, SLEEPING);
    wait_for(x, seconds);
}

/* ---- the policy is done: commit ---- */

static void add_number(struct buf *headers, const char *name, unsigned number)
{
    char text[12];

    snprintf(text, sizeof text, "%u", number);
    head_add(headers, name, slice_of(text));
}

static void add_headers(const struct exchange *x, struct buf *headers)
{

    head_add(headers, "x-request-id", slice_of(x->request.id));
    if (x->committed) {
        head_add(headers, "x-weir-target", attempt_target(x->attempt));
        policy_add_ratelimit(x->policy, attempt_provider(x->attempt), x->attempt, headers);
    }
    add_number(headers, "x-weir-attempts", (unsigned)x->trail_count);
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
    finish(x, error.status, error.code);
    answer_error(client, &error);
}

static void send_plain(struct exchange *x)
{
    struct buf headers = {0};

    head_add(&headers, "content-type", SLICE("application/json"));
    add_headers(x, &headers);
    x->first_us = loop_now_us();
    struct client *client = x->client;
    finish(x, 200, "ok"); /* before the reply: res:on_end may read the request's headers */
    client_reply(client, 200, buf_slice(&headers), buf_slice(&x->waiting));
    buf_free(&headers);
}

/* The answer is in x->waiting, which the filters change. */
static void settle_plain(struct exchange *x, enum policy_filtered filtered)
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
        settle_plain(x, policy_filter_answer(x->policy, &x->waiting));
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
    set_state(x, STREAMING);
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
    client_reply(x->client, result->status, buf_slice(&headers), result->body);
    buf_free(&headers);
    finish(x, result->status, result->code ? result->code : "reply");
}

static void on_finish(void *arg, const struct policy_result *result)
{
    struct exchange *x = arg;

    if (x->broken) {
        join_or_break(x, result);
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

/* ---- a stream on its way ---- */

/* The usage chunk that only the gateway asked for. */
static bool is_hidden(const struct exchange *x, const struct chunk *chunk)
{
    return chunk && chunk->kind == CHUNK_USAGE && attempt_hides_usage(x->attempt);
}

/* What the filters made of an event has been added to out after before; raw is the event. */
static void settle_event(struct exchange *x, enum policy_filtered filtered, struct slice raw,
                         bool hides, size_t before)
{
    struct buf *out = &x->world->out;

    if (filtered == POLICY_FILTER_FAILED) {
        x->erred = true;
        out->len = before;
        if (generation_config(x->generation)->on_error_open)
            buf_add(out, raw);
        else
            x->failed = true;
    } else if (hides && out->len - before >= raw.len &&
               memcmp(out->ptr + out->len - raw.len, raw.ptr, raw.len) == 0) {
        out->len -= raw.len; /* the filters saw it; the client did not ask for it */
    }
}

static void keep_waiting(struct exchange *x, const struct sse_event *event, bool hides)
{
    x->filtering = true;
    x->hides = hides;
    x->unended = event->is_unended;
    buf_clear(&x->waiting);
    buf_add(&x->waiting, event->raw);
    attempt_hold(x->attempt);
}

static void pass(struct exchange *x, const struct sse_event *event, const struct chunk *chunk)
{
    struct buf *out = &x->world->out;
    bool hides = is_hidden(x, chunk);
    size_t before = out->len;

    if (!policy_has_filters(x->policy)) {
        if (!hides)
            buf_add(out, event->raw);
    } else {
        enum policy_filtered filtered = policy_filter_event(x->policy, event, chunk, out);
        if (filtered == POLICY_FILTER_WAITS) {
            keep_waiting(x, event, hides);
            return;
        }
        settle_event(x, filtered, event->raw, hides, before);
    }
    if (event->is_unended && out->len > before)
        buf_add_text(out, "\n\n");
}

/* An event of a stream that goes on where another broke. */
static void pass_joined(struct exchange *x, const struct sse_event *event,
                        const struct chunk *chunk)
{
    struct buf raw = {0};
    struct chunk joined;

    buf_add_text(&raw, "data: ");
    said_join(x->said, event->data, chunk, &raw);
    size_t len = raw.len - strlen("data: ");
    buf_add_text(&raw, "\n\n");
    struct slice data = {raw.ptr + strlen("data: "), len};
    struct sse_event made = {
        .data = data, .raw = buf_slice(&raw), .retry_ms = -1, .has_data = true};
    if (data.len && chunk_read(data, &joined) == ERR_OK)
        pass(x, &made, &joined);
    buf_free(&raw);
}

static void on_event(void *arg, const struct sse_event *event, const struct chunk *chunk)
{
    struct exchange *x = arg;

    if (x->failed)
        return;
    if (x->said && chunk)
        said_add(x->said, event->data, chunk);
    if (x->joined && chunk)
        pass_joined(x, event, chunk);
    else
        pass(x, event, chunk);
}

static void flush(struct exchange *x)
{
    if (x->world->out.len == 0)
        return;
    client_stream_send(x->client, buf_slice(&x->world->out));
    buf_clear(&x->world->out);
}

static bool ends_with(const struct buf *out, const struct buf *last)
{
    return out->len >= last->len &&
           memcmp(out->ptr + out->len - last->len, last->ptr, last->len) == 0;
}

/* Filters see the last event too, so that what they held back is not lost; the client gets
 * it whatever they make of it. */
static void add_last_event(struct exchange *x, const struct buf *json)
{
    struct buf *out = &x->world->out, raw = {0};
    struct sse_event event = {.data = buf_slice(json), .retry_ms = -1, .has_data = true};
    struct chunk chunk;

    buf_add_text(&raw, "data: ");
    buf_add(&raw, buf_slice(json));
    buf_add_text(&raw, "\n\n");
    event.raw = buf_slice(&raw);
    bool may_filter = policy_has_filters(x->policy) && !x->failed && !x->filtering;
    if (may_filter && !chunk_read(event.data, &chunk)) {
        size_t before = out->len;
        if (policy_filter_event(x->policy, &event, &chunk, out) != POLICY_FILTERED)
            out->len = before; /* nothing waits any more */
    }
    if (!ends_with(out, &raw))
        buf_add(out, buf_slice(&raw));
    buf_free(&raw);
}

/* The client learns that the stream is not whole: one error event, no [DONE], a cut. */
static void break_stream(struct exchange *x, const char *code, const char *message)
{
    struct answer_error error = {.type = "server_error", .code = code, .message = message};
    struct client *client = x->client;
    struct buf json = {0};

    answer_error_json(&error, &json);
    add_last_event(x, &json);
    buf_free(&json);
    flush(x);
    finish(x, 200, code);
    client_stream_abort(client);
}

static void on_flush(void *arg)
{
    struct exchange *x = arg;

    if (x->failed) {
        break_stream(x, policy_code(x->policy), policy_sentence(x->policy));
        return;
    }
    flush(x);
    if (client_stream_queued(x->client) > QUEUE_HIGH)
        attempt_pause(x->attempt);
}

/* ---- a stream that goes on with another target ---- */

/* What was on its way in the broken one's place is over; it is told as if nobody had tried. */
static void give_up(struct exchange *x, const char *code, const char *message)
{
    race_free(x);
    drop_attempt(x, x->attempt);
    x->attempt = x->broken;
    x->broken = NULL;
    x->committed = true;
    fetch_free(x->fetch);
    x->fetch = NULL;
    event_del(&x->timer);
    break_stream(x, code, message);
}

/* The policy has looked for who goes on. */
static void join_or_break(struct exchange *x, const struct policy_result *result)
{
    if (result->kind != POLICY_RESPONSE) {
        give_up(x, x->wrong.code, x->wrong.message);
        return;
    }
    struct chunk_usage usage = attempt_usage(x->broken);
    chunk_usage_add(&x->spent, &usage);
    drop_attempt(x, x->broken);
    x->broken = NULL;
    x->committed = x->joined = true;
    set_state(x, STREAMING);
    attempt_stream(x->attempt); /* may finish x */
}

/* In the trail, where those that lost a race with it may come later. */
static void note_broken(struct exchange *x)
{
    for (size_t i = x->trail_count; i-- > 0;) {
        struct trail_item *item = &x->trail[i];
        if (strcmp(item->code, "ok") != 0)
            continue;
        snprintf(item->code, sizeof item->code, "broken");
        return;
    }
}

static void on_broken(struct exchange *x, const struct attempt_fault *fault)
{
    struct policy_outcome outcome = judge(x, x->attempt, fault);
    charge_fail(x->world->limits, x->generation, x->attempt, fault, &outcome);
    struct buf said = {0};
    const char *code = fault->fault == ERR_TIMEOUT ? "stream_timeout"
                       : fault->fault              ? "stream_truncated"
                                                   : outcome.code;

    note_broken(x);
    log_attempt(
        x, &(struct trail_item){.target = (char *)attempt_target(x->attempt).ptr, .code = "broken"},
        x->attempt, outcome.message, false);
    snprintf(x->wrong.code, sizeof x->wrong.code, "%s", code);
    snprintf(x->wrong.message, sizeof x->wrong.message, "%s", outcome.message);
    if (x->said && policy_may_go_on(x->policy) && said_may_go_on(x->said, &said)) {
        flush(x);
        x->broken = x->attempt;
        x->attempt = NULL;
        x->committed = false;
        set_state(x, DECIDING);
        policy_go_on(x->policy, buf_slice(&said)); /* may finish x */
    } else {
        break_stream(x, x->wrong.code, x->wrong.message);
    }
    buf_free(&said);
}

static void on_end(void *arg, const struct attempt_fault *fault)
{
    struct exchange *x = arg;

    if (x->failed) {
        on_flush(x);
        return;
    }
    if (fault) {
        on_broken(x, fault);
        return;
    }
    struct client *client = x->client;
    flush(x);
    finish(x, 200, "ok");
    client_stream_end(client);
}

/* The filter that waited goes on. */
static void resume_filter(struct exchange *x)
{
    struct buf *out = &x->world->out;
    size_t before = out->len;

    if (x->state != STREAMING) {
        settle_plain(x, policy_filter_resume(x->policy, &x->waiting));
        return;
    }
    enum policy_filtered filtered = policy_filter_resume(x->policy, out);
    x->filtering = filtered == POLICY_FILTER_WAITS;
    if (x->filtering)
        return;
    settle_event(x, filtered, buf_slice(&x->waiting), x->hides, before);
    if (x->unended && out->len > before)
        buf_add_text(out, "\n\n");
    if (x->failed)
        on_flush(x);
    else
        attempt_stream(x->attempt); /* flushes; may finish x */
}

static void on_drained(void *arg)
{
    struct exchange *x = arg;

    if (x->state == STREAMING)
        attempt_resume(x->attempt);
}

/* ---- the client leaves ---- */

static void on_gone(void *arg)
{
    struct exchange *x = arg;

    x->client = NULL; /* freed: res:on_end finds no headers */
    shadow_cancel(&x->world->shadows, x->id);
    finish(x, 499, "cancelled");
}

/* ---- the beginning ---- */

static void refuse(struct exchange *x, const struct answer_error *error)
{
    struct client *client = x->client;

    finish(x, error->status, error->code);
    answer_error(client, error);
}

static void refuse_body(struct exchange *x, int status, const char *param, const char *message)
{
    refuse(x, &(struct answer_error){.status = status,
                                     .type = "invalid_request_error",
                                     .code = "invalid_body",
                                     .param = param,
                                     .message = message});
}

static bool is_empty_array(const struct body_member *member)
{
    struct json json = json_init(member->value);
    return member->kind == JSON_ARRAY && json_enter_array(&json) && !json_next_element(&json);
}

/* What is wrong with the members that every request needs; NULL: nothing. */
static const char *fault_of(const struct exchange *x, const char **param)
{
    static const char *const needed[] = {"messages", "prompt", "input"};
    const struct body_member *model = body_get(&x->body, "model");
    const struct body_member *stream = body_get(&x->body, "stream");
    const struct body_member *options = body_get(&x->body, "stream_options");
    const struct body_member *content = body_get(&x->body, needed[x->request.endpoint]);

    *param = "model";
    if (!model)
        return "the body has no model; give the name of one, as a string";
    if (model->kind != JSON_STRING || model->value.len <= 2)
        return "model must be a string that is not empty";
    *param = "stream";
    if (stream && stream->kind != JSON_TRUE && stream->kind != JSON_FALSE &&
        stream->kind != JSON_NULL)
        return "stream must be true or false";
    *param = "stream_options";
    if (options && options->kind != JSON_OBJECT && options->kind != JSON_NULL)
        return "stream_options must be an object";
    *param = needed[x->request.endpoint];
    if (!content)
        return "the body lacks this member, which says what to work on";
    if (x->request.endpoint == ENDPOINT_CHAT &&
        (content->kind != JSON_ARRAY || is_empty_array(content)))
        return "messages must be an array with at least one message";
    if (x->request.endpoint != ENDPOINT_CHAT && content->kind != JSON_STRING &&
        (content->kind != JSON_ARRAY || is_empty_array(content)))
        return "this must be a string, or an array that is not empty";
    return NULL;
}

static bool read_body(struct exchange *x)
{
    struct body_fault fault = {0};
    struct buf message = {0};
    const char *param = NULL, *wrong;

    client_take_body(x->client, &x->bytes);
    if (body_init(&x->body, buf_slice(&x->bytes), &fault)) {
        buf_add_format(&message, "the request's body is refused at byte %zu: %s", fault.offset,
                       fault.message);
        buf_add_char(&message, '\0');
        refuse_body(x, 400, fault.member[0] ? fault.member : NULL, message.ptr);
        buf_free(&message);
        return false;
    }
    wrong = fault_of(x, &param);
    if (wrong) {
        refuse_body(x, 400, param, wrong);
        return false;
    }
    if (body_get_string(&x->body, "model", &x->model)) {
        refuse_body(x, 400, "model", "model is no text that can be read");
        return false;
    }
    x->request.model = buf_slice(&x->model);
    x->request.stream =
        x->request.endpoint != ENDPOINT_EMBEDDINGS && body_is_true(&x->body, "stream");
    x->request.body = &x->body;
    return true;
}

static void refuse_model(struct exchange *x)
{
    struct buf message = {0};

    buf_add_text(&message, "no model is called '");
    buf_add(&message, x->request.model);
    buf_add_text(&message, "' here; GET /v1/models lists those that are");
    buf_add_char(&message, '\0');
    refuse(x, &(struct answer_error){.status = 404,
                                     .type = "invalid_request_error",
                                     .code = "model_not_found",
                                     .param = "model",
                                     .message = message.ptr});
    buf_free(&message);
}

static void each_client_header(const void *source,
                               void (*visit)(void *arg, const char *name, const char *value),
                               void *arg)
{
    const struct exchange *x = source;

    if (x->client)
        client_each_header(x->client, visit, arg);
}

static void choose_generation(struct exchange *x)
{
    struct generation *before = x->generation;

    if (!x->world->choose)
        return;
    x->generation = generation_share(x->world->choose(x->world->arg, &x->request));
    generation_free(before);
}

void exchange_start(struct exchange_world *world, struct client *client, enum endpoint endpoint,
                    const char *key_name)
{
    struct exchange *x = mem_new(sizeof *x);

    x->world = world;
    x->generation = generation_share(world->generation);
    x->client = client;
    x->started_us = loop_now_us();
    x->spent = chunk_usage_none();
    snprintf(x->id, sizeof x->id, "%s", client_id(client));
    x->request.id = x->id;
    x->request.endpoint = endpoint;
    x->request.key_name = key_name;
    x->request.headers.each = each_client_header;
    x->request.headers.source = x;
    event_assign(&x->timer, world->base, -1, 0, on_wake, x);
    TAILQ_INSERT_TAIL(&world->live, x, link);
    world->count++;
    client_own(client, &client_owner, x);
    if (!read_body(x))
        return;
    choose_generation(x);
    if (!generation_serves(x->generation, x->request.model)) {
        refuse_model(x);
        return;
    }
    x->policy = policy_new(x->generation, &x->request, &host, x);
    policy_run(x->policy); /* may finish x */
}

void exchange_cut_all(struct exchange_world *world)
{
    struct exchange *x, *next;

    shadow_cancel_all(&world->shadows);
    for (x = TAILQ_FIRST(&world->live); x; x = next) {
        next = TAILQ_NEXT(x, link);
        if (x->broken && x->state != DONE)
            give_up(x, "shutting_down", "the gateway is stopping");
        else if (x->state == STREAMING)
            break_stream(x, "shutting_down", "the gateway is stopping");
        else if (x->state != DONE)
            refuse(x, &(struct answer_error){.status = 503,
                                             .type = "server_error",
                                             .code = "shutting_down",
                                             .message = "the gateway is stopping",
                                             .retry_after = 1});
    }
}

static const struct policy_host host = {
    .on_send = on_send,
    .on_race = on_race,
    .on_shadow = on_shadow,
    .on_sleep = on_sleep,
    .on_fetch = on_fetch,
    .fetched = fetched,
    .on_finish = on_finish,
    .trail = trail_of,
    .headers = each_header,
    .on_attempt_dropped = on_attempt_dropped,
};

static const struct attempt_owner attempt_owner = {
    .on_commit = on_commit,
    .on_fail = on_fail,
    .on_event = on_event,
    .on_flush = on_flush,
    .on_end = on_end,
};

static const struct client_owner client_owner = {
    .on_gone = on_gone,
    .on_drained = on_drained,
};
