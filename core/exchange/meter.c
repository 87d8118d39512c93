/* meter.c -- series by model, endpoint and outcome; by provider and outcome. */
/* SPDX-License-Identifier: MIT */
#include "meter.h"
#include "leaves/mem.h"
#include "metrics/metrics.h"

enum { CODES = 32, CODE_MAX = 24 }; /* a provider's own classify may have words of its own */

enum outcome { OK, CUT, CANCELLED, CLIENT_ERROR, RATE_LIMITED, SERVER_ERROR, OUTCOMES };

enum token { INPUT, OUTPUT, CACHED, REASONING, TOKENS };

struct code {
    char word[CODE_MAX];
    struct tally *count, *duration;
};

struct meter {
    struct tallies *tallies;
    char *name;
    /* a model's */
    struct tally *duration[ENDPOINT_COUNT][OUTCOMES];
    struct tally *first[ENDPOINT_COUNT], *per_token[ENDPOINT_COUNT], *between[ENDPOINT_COUNT];
    struct tally *policy_errors;
    /* either's */
    struct tally *tokens[TOKENS];
    struct tally *cost;
    /* a provider's */
    struct code codes[CODES];
    size_t code_count;
};

static struct meter *meter_new(const char *name, struct tallies *tallies)
{
    struct meter *meter = mem_new(sizeof *meter);

    meter->tallies = tallies;
    meter->name = mem_dup(slice_of(name));
    return meter;
}

static void meter_free(struct meter *meter)
{
    if (!meter)
        return;
    mem_free(meter->name);
    mem_free(meter);
}

void meter_make(const struct config *config, struct tallies *tallies)
{
    for (size_t i = 0; i <= config->model_count; i++)
        config->models[i].meter =
            meter_new(i < config->model_count ? config->models[i].name : "*", tallies);
    for (size_t i = 0; i < config->provider_count; i++)
        config->providers[i].meter = meter_new(config->providers[i].name, tallies);
}

void meter_unmake(const struct config *config)
{
    for (size_t i = 0; i <= config->model_count; i++)
        meter_free(config->models[i].meter);
    for (size_t i = 0; i < config->provider_count; i++)
        meter_free(config->providers[i].meter);
}

struct meter *meter_of_model(const struct config *config, struct slice name)
{
    for (size_t i = 0; i < config->model_count; i++)
        if (slice_is(name, config->models[i].name))
            return config->models[i].meter;
    return config->models[config->model_count].meter;
}

/* ---- series, found once ---- */

struct label {
    const char *name, *value; /* value NULL: not said */
};

static struct tally *take(const struct meter *meter, enum tally_kind kind, const char *name,
                          const struct label *labels, size_t count)
{
    struct buf series = {0};

    buf_add_text(&series, name);
    for (size_t i = 0; i < count; i++)
        if (labels[i].value)
            metrics_add_label(&series, slice_of(labels[i].name), slice_of(labels[i].value));
    buf_add_char(&series, '}');
    struct tally *tally = tally_of(meter->tallies, kind, buf_slice(&series));
    buf_free(&series);
    return tally;
}

static struct tally *find(struct tally **kept, const struct meter *meter, enum tally_kind kind,
                          const char *name, const struct label *labels, size_t count)
{
    if (!*kept)
        *kept = take(meter, kind, name, labels, count);
    return *kept;
}

/* ---- requests ---- */

static enum outcome outcome_of(const struct meter_request *request)
{
    if (request->is_cut)
        return CUT;
    if (request->status == 499)
        return CANCELLED;
    if (request->status == 429)
        return RATE_LIMITED;
    if (request->status >= 500)
        return SERVER_ERROR;
    return request->status >= 400 ? CLIENT_ERROR : OK;
}

/* error.type is not said of what went well. */
static const char *const error_types[] = {NULL,           "cut",          "cancelled",
                                          "client_error", "rate_limited", "server_error"};
static const char *const operations[] = {"chat", "text_completion", "embeddings"};

static struct tally *of_model(struct tally **kept, struct meter *meter, enum tally_kind kind,
                              const char *name, enum endpoint endpoint, enum outcome outcome)
{
    const struct label labels[] = {{"gen_ai_operation_name", operations[endpoint]},
                                   {"gen_ai_request_model", meter->name},
                                   {"error_type", error_types[outcome]}};

    return find(kept, meter, kind, name, labels, 3);
}

static void observe_stream(struct meter *model, const struct meter_request *request)
{
    enum endpoint at = request->endpoint;
    int64_t rest_us = request->total_us - request->first_us, more = request->usage.completion - 1;

    tally_observe(of_model(&model->first[at], model, TALLY_FIRST,
                           "gen_ai_server_time_to_first_token_seconds", at, OK),
                  request->first_us);
    if (more > 0)
        tally_observe(of_model(&model->per_token[at], model, TALLY_BETWEEN,
                               "gen_ai_server_time_per_output_token_seconds", at, OK),
                      rest_us / more);
    tally_take_batch(of_model(&model->between[at], model, TALLY_BETWEEN,
                              "weir_stream_time_between_events_seconds", at, OK),
                     request->between);
}

static void observe_tokens(struct meter *meter, const char *name, const char *label,
                           enum tally_kind kind, const struct chunk_usage *usage)
{
    static const char *const words[] = {"input", "output", "cached_input", "reasoning"};
    const int64_t counts[] = {usage->prompt, usage->completion, usage->cached, usage->reasoning};

    for (int i = 0; i < TOKENS; i++) {
        const struct label labels[] = {{label, meter->name}, {"gen_ai_token_type", words[i]}};
        if (counts[i] < 0 || (i > OUTPUT && counts[i] == 0))
            continue;
        struct tally *tally = find(&meter->tokens[i], meter, kind, name, labels, 2);
        if (kind == TALLY_COUNT)
            tally_count(tally, (uint64_t)counts[i]);
        else
            tally_observe(tally, counts[i]);
    }
}

static void count_policy_error(struct meter *model)
{
    const struct label label = {"gen_ai_request_model", model->name};

    tally_count(
        find(&model->policy_errors, model, TALLY_COUNT, "weir_policy_errors_total", &label, 1), 1);
}

void meter_request(struct meter *model, const struct meter_request *request)
{
    enum outcome outcome = outcome_of(request);

    if (!model)
        return;
    tally_observe(of_model(&model->duration[request->endpoint][outcome], model, TALLY_DURATION,
                           "gen_ai_server_request_duration_seconds", request->endpoint, outcome),
                  request->total_us);
    if (request->is_stream && request->first_us)
        observe_stream(model, request);
    if (request->is_policy_error)
        count_policy_error(model);
    if (!request->provider)
        return;
    observe_tokens(model, "weir_model_tokens_total", "gen_ai_request_model", TALLY_COUNT,
                   &request->usage);
    if (request->provider->meter)
        observe_tokens(request->provider->meter, "gen_ai_client_token_usage",
                       "gen_ai_provider_name", TALLY_TOKENS, &request->usage);
}

/* ---- attempts ---- */

static struct code *code_of(struct meter *provider, const char *word)
{
    for (size_t i = 0; i < provider->code_count; i++)
        if (strncmp(provider->codes[i].word, word, CODE_MAX - 1) == 0)
            return &provider->codes[i];
    if (provider->code_count == CODES - 1)
        word = "other";
    if (provider->code_count == CODES)
        return &provider->codes[CODES - 1];
    struct code *code = &provider->codes[provider->code_count++];
    strncpy(code->word, word, CODE_MAX - 1); /* the rest is zero */
    return code;
}

void meter_attempt(struct meter *provider, const char *code, int64_t us)
{
    if (!provider)
        return;
    struct code *of = code_of(provider, code);
    const struct label labels[] = {{"gen_ai_provider_name", provider->name}, {"outcome", of->word}};
    tally_count(find(&of->count, provider, TALLY_COUNT, "weir_attempts_total", labels, 2), 1);
    tally_observe(
        find(&of->duration, provider, TALLY_DURATION, "weir_attempt_duration_seconds", labels, 2),
        us);
}

/* ---- money ---- */

static void add_cost(struct meter *meter, const char *series, const char *label, int64_t cost)
{
    if (!meter || cost <= 0)
        return;
    const struct label labels[] = {{label, meter->name}};
    tally_count(find(&meter->cost, meter, TALLY_MONEY, series, labels, 1), (uint64_t)cost);
}

void meter_cost(struct meter *provider, int64_t cost)
{
    add_cost(provider, "weir_provider_cost_dollars_total", "gen_ai_provider_name", cost);
}

void meter_model_cost(struct meter *model, int64_t cost)
{
    add_cost(model, "weir_model_cost_dollars_total", "gen_ai_request_model", cost);
}
