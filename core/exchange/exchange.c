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
#include "client/answer.h"
#include "exchange_own.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "policy/ration.h"
#include <assert.h>

static const struct policy_host host;
static const struct client_owner client_owner;

void exchange_set_state(struct exchange *x, enum exchange_state state)
{
    assert(x->state != DONE);
    x->world->sleeping -= x->state == SLEEPING;
    x->world->sleeping += state == SLEEPING;
    x->state = state;
}

/* ---- the end ---- */

struct chunk_usage exchange_usage(const struct exchange *x)
{
    struct chunk_usage usage = attempt_usage(x->attempt);

    chunk_usage_add(&usage, &x->spent);
    return usage;
}

static void close_bill(struct exchange *x)
{
    meter_model_cost(meter_of_model(generation_config(x->generation), x->request.model),
                     bill_cost_so_far(x->request.bill));
    bill_close(x->request.bill);
    x->request.bill = NULL;
}

static void free_now(evutil_socket_t fd, short what, void *arg)
{
    struct exchange *x = arg;

    event_del(&x->timer);
    policy_free(x->policy);
    exchange_end_race(x);
    fetch_free(x->fetch);
    exchange_drop(x, x->attempt);
    exchange_drop(x, x->broken);
    close_bill(x); /* of a policy that kept an answer, or whose copies are still under way */
    if (x->said)
        said_fini(x->said);
    mem_free(x->said);
    body_fini(&x->body);
    buf_free(&x->bytes);
    buf_free(&x->model);
    buf_free(&x->waiting);
    trail_free(&x->trail);
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
    if (x->refused)
        log_str(&line, "message", x->refused);
    if (x->committed)
        log_text(&line, "target", attempt_target(x->attempt));
    log_int(&line, "attempts", (int64_t)x->trail.count);
    if (x->first_us)
        log_ms(&line, "first_ms", x->first_us - x->started_us);
    log_ms(&line, "total_ms", now_us - x->started_us);
    if (x->committed) {
        struct chunk_usage usage = exchange_usage(x);
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

static void measure(const struct exchange *x, int status, const char *code)
{
    const struct config *config = generation_config(x->generation);
    bool is_well = strcmp(code, "ok") == 0 || strcmp(code, "reply") == 0;
    struct meter_request request = {
        .endpoint = x->request.endpoint,
        .status = status,
        .is_stream = x->committed && attempt_is_stream(x->attempt),
        .is_cut = x->first_us && status == 200 && !is_well,
        .is_policy_error = x->erred || strncmp(code, "policy_", 7) == 0,
        .first_us = x->first_us ? x->first_us - x->started_us : 0,
        .total_us = loop_now_us() - x->started_us,
        .usage = x->committed ? exchange_usage(x) : chunk_usage_none(),
        .provider = x->committed ? attempt_provider(x->attempt) : NULL,
        .between = &x->between,
    };
    meter_request(meter_of_model(config, x->request.model), &request);
}

/* Everything that can still happen stops here.  The client's last word comes after it. */
void exchange_finish(struct exchange *x, int status, const char *code)
{
    if (x->state == DONE)
        return;
    measure(x, status, code);
    if (x->policy && x->world->on_ended && x->client)
        x->world->on_ended(x->world->arg, x->generation, is_error(x, status, code));
    if (x->policy) {
        struct policy_end end = {
            .usage = x->committed ? exchange_usage(x) : chunk_usage_none(),
            .first_ms = x->first_us ? (x->first_us - x->started_us) / 1000 : 0,
            .total_ms = (loop_now_us() - x->started_us) / 1000,
            .code = code,
        };
        policy_end(x->policy, &end);
    }
    if (x->request.bill)
        bill_end(x->request.bill, status, code,
                 x->committed ? attempt_target(x->attempt) : (struct slice){NULL, 0},
                 x->first_us ? (x->first_us - x->started_us) / 1000 : -1,
                 (loop_now_us() - x->started_us) / 1000);
    transcript_end(x->transcript);
    x->transcript = NULL;
    exchange_set_state(x, DONE);
    x->client = NULL;
    exchange_close(x, x->attempt);
    exchange_close(x, x->broken);
    for (size_t i = 0; x->race && i < x->race->count; i++)
        exchange_close(x, x->race->racers[i].attempt);
    if (!bill_is_under_way(x->request.bill))
        close_bill(x);
    log_request(x, status, code); /* who reads this line finds all else that there is of it */
    fetch_free(x->fetch);
    x->fetch = NULL;
    event_del(&x->timer);
    event_assign(&x->timer, x->world->base, -1, 0, free_now, x);
    event_active(&x->timer, EV_TIMEOUT, 0);
}

/* ---- the policy sleeps ---- */

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct exchange *x = arg;

    if (x->filtering) {
        exchange_resume_filter(x);
        return;
    }
    if (x->race) {
        exchange_next_racer(x);
        return;
    }
    exchange_set_state(x, DECIDING);
    policy_resume_sleep(x->policy); /* may finish x */
}

static void on_fetched(void *arg)
{
    on_wake(-1, 0, arg);
}

void exchange_wait(struct exchange *x, double seconds)
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
        exchange_set_state(x, SLEEPING);
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
        exchange_set_state(x, SLEEPING);
    exchange_wait(x, seconds);
}

/* ---- the client leaves ---- */

static void on_gone(void *arg)
{
    struct exchange *x = arg;

    x->client = NULL; /* freed: res:on_end finds no headers */
    shadow_cancel(&x->world->shadows, x->id);
    exchange_finish(x, 499, "cancelled");
}

/* ---- the beginning ---- */

static void refuse(struct exchange *x, const struct answer_error *error)
{
    struct client *client = x->client;

    exchange_store_error(x, error);
    exchange_finish(x, error->status, error->code);
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

/* Whether its key and team may have it served now. */
static bool open_bill(struct exchange *x)
{
    struct bill_need need = ration_need(&x->body, NULL, x->request.endpoint,
                                        generation_config(x->generation)->answer_tokens);
    struct bill_request request = {
        .id = x->id,
        .model = x->request.model,
        .endpoint = x->request.endpoint,
        .generation = generation_number(x->generation),
        .tokens = need.prompt + need.completion,
    };
    struct bill_refusal no;

    if (!x->account.number ||
        bill_open(x->world->bills, &x->account, &request, &x->request.bill, &no))
        return true;
    x->refused = no.message;
    refuse(x, &(struct answer_error){.status = no.status,
                                     .type = no.type,
                                     .code = no.code,
                                     .param = no.param,
                                     .message = no.message,
                                     .retry_after = no.retry_s});
    return false;
}

void exchange_start(struct exchange_world *world, struct client *client, enum endpoint endpoint,
                    const char *key_name, const struct keys_account *account)
{
    struct exchange *x = mem_new(sizeof *x);

    x->world = world;
    x->generation = generation_share(world->generation);
    x->client = client;
    x->started_us = loop_now_us();
    x->spent = chunk_usage_none();
    text_copy(x->id, sizeof x->id, client_id(client));
    x->request.id = x->id;
    x->request.endpoint = endpoint;
    x->request.key_name = key_name;
    if (account) {
        x->account = *account;
        x->request.key_name = x->account.name;
    }
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
    if (!open_bill(x))
        return;
    exchange_store(x);
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
            exchange_give_up(x, "shutting_down", "the gateway is stopping");
        else if (x->state == STREAMING)
            exchange_break(x, "shutting_down", "the gateway is stopping");
        else if (x->state != DONE)
            refuse(x, &(struct answer_error){.status = 503,
                                             .type = "server_error",
                                             .code = "shutting_down",
                                             .message = "the gateway is stopping",
                                             .retry_after = 1});
    }
}

static size_t on_trail(void *arg, const struct policy_trail_entry **entries)
{
    const struct exchange *x = arg;

    return trail_entries(&x->trail, entries);
}

static const struct policy_host host = {
    .on_send = exchange_on_send,
    .on_race = exchange_on_race,
    .on_shadow = exchange_on_shadow,
    .on_sleep = on_sleep,
    .on_fetch = on_fetch,
    .fetched = fetched,
    .on_finish = exchange_on_finish,
    .trail = on_trail,
    .headers = charge_each_header,
    .on_attempt_dropped = exchange_on_dropped,
};

static const struct client_owner client_owner = {
    .on_gone = on_gone,
    .on_drained = exchange_on_drained,
};
