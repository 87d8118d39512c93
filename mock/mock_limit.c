/* mock_limit.c -- counts by model, and the table of providers' headers. */
/* SPDX-License-Identifier: MIT */
#include "mock_limit.h"
#include "leaves/loop.h"
#include <stdio.h>
#include <time.h>

enum {
    MODELS = 64,      /* counted at once; the oldest is forgotten */
    MODEL_BYTES = 200 /* of a name that count */
};

static struct tally {
    char model[MODEL_BYTES];
    size_t len;
    int requests; /* ever */
    int used;     /* in this window */
    uint64_t window_us;
} tallies[MODELS];

static unsigned tally_next;

static struct tally *tally_of(struct slice model)
{
    if (model.len > MODEL_BYTES)
        model.len = MODEL_BYTES;
    for (size_t i = 0; i < MODELS; i++)
        if (slice_equal(model, (struct slice){tallies[i].model, tallies[i].len}) &&
            tallies[i].requests)
            return &tallies[i];

    struct tally *tally = &tallies[tally_next++ % MODELS];
    *tally = (struct tally){.len = model.len};
    if (model.len)
        memcpy(tally->model, model.ptr, model.len);
    return tally;
}

void mock_limit_clear(void)
{
    memset(tallies, 0, sizeof tallies);
}

static bool within(const struct mock_options *options, struct tally *tally, uint64_t now_us)
{
    uint64_t window_us = (uint64_t)options->window_ms * 1000;

    if (tally->used == 0 || now_us - tally->window_us >= window_us) {
        tally->window_us = now_us;
        tally->used = 0;
    }
    if (options->rpm && tally->used >= options->rpm)
        return false;
    tally->used++;
    return true;
}

/* A request is taken for 100 tokens, a limit of requests for 200 each. */
static struct mock_quota quota_of(const struct mock_options *options, const struct tally *tally,
                                  uint64_t now_us)
{
    int limit = options->rpm ? options->rpm : 1000;
    int left = tally->used < limit ? limit - tally->used : 0;
    uint64_t past_ms = (now_us - tally->window_us) / 1000;

    return (struct mock_quota){.limit = {limit, limit * 200},
                               .left = {left, limit * 200 - tally->used * 100},
                               .reset_ms = options->window_ms - (int)past_ms};
}

bool mock_limit_take(const struct mock_options *options, struct slice model, uint64_t now_us,
                     struct mock_quota *quota, int *number)
{
    if (!options->rpm && !options->ratelimit && !options->fault_every && !options->fault_first) {
        *number = 0; /* nobody asks, so nothing is counted */
        return true;
    }
    struct tally *tally = tally_of(model);
    bool ok = within(options, tally, now_us);
    *number = ++tally->requests;
    *quota = quota_of(options, tally, now_us);
    return ok;
}

enum value { LIMIT, LEFT, DURATION, FLOAT_SECONDS, SECONDS, EPOCH_MS, RFC3339, COST };
enum { REQUESTS, TOKENS };

struct header {
    const char *provider;
    const char *name;
    enum value value;
    int dimension;
    bool refusals_only;
};

static const struct header headers[] = {
    {"openai", "x-ratelimit-limit-requests", LIMIT, REQUESTS, false},
    {"openai", "x-ratelimit-limit-tokens", LIMIT, TOKENS, false},
    {"openai", "x-ratelimit-remaining-requests", LEFT, REQUESTS, false},
    {"openai", "x-ratelimit-remaining-tokens", LEFT, TOKENS, false},
    {"openai", "x-ratelimit-reset-requests", DURATION, REQUESTS, false},
    {"openai", "x-ratelimit-reset-tokens", DURATION, TOKENS, false},
    {"groq", "x-ratelimit-limit-requests", LIMIT, REQUESTS, false},
    {"groq", "x-ratelimit-limit-tokens", LIMIT, TOKENS, false},
    {"groq", "x-ratelimit-remaining-requests", LEFT, REQUESTS, false},
    {"groq", "x-ratelimit-remaining-tokens", LEFT, TOKENS, false},
    {"groq", "x-ratelimit-reset-requests", DURATION, REQUESTS, false},
    {"groq", "x-ratelimit-reset-tokens", DURATION, TOKENS, false},
    {"cerebras", "x-ratelimit-limit-requests-day", LIMIT, REQUESTS, false},
    {"cerebras", "x-ratelimit-limit-tokens-minute", LIMIT, TOKENS, false},
    {"cerebras", "x-ratelimit-remaining-requests-day", LEFT, REQUESTS, false},
    {"cerebras", "x-ratelimit-remaining-tokens-minute", LEFT, TOKENS, false},
    {"cerebras", "x-ratelimit-reset-requests-day", FLOAT_SECONDS, REQUESTS, false},
    {"cerebras", "x-ratelimit-reset-tokens-minute", FLOAT_SECONDS, TOKENS, false},
    {"openrouter", "X-RateLimit-Limit", LIMIT, REQUESTS, true},
    {"openrouter", "X-RateLimit-Remaining", LEFT, REQUESTS, true},
    {"openrouter", "X-RateLimit-Reset", EPOCH_MS, REQUESTS, true},
    {"anthropic", "anthropic-ratelimit-requests-limit", LIMIT, REQUESTS, false},
    {"anthropic", "anthropic-ratelimit-requests-remaining", LEFT, REQUESTS, false},
    {"anthropic", "anthropic-ratelimit-requests-reset", RFC3339, REQUESTS, false},
    {"anthropic", "anthropic-ratelimit-tokens-limit", LIMIT, TOKENS, false},
    {"anthropic", "anthropic-ratelimit-tokens-remaining", LEFT, TOKENS, false},
    {"anthropic", "anthropic-ratelimit-tokens-reset", RFC3339, TOKENS, false},
    {"mistral", "x-ratelimit-limit-req-minute", LIMIT, REQUESTS, false},
    {"mistral", "x-ratelimit-remaining-req-minute", LEFT, REQUESTS, false},
    {"mistral", "x-ratelimit-limit-tokens-minute", LIMIT, TOKENS, false},
    {"mistral", "x-ratelimit-remaining-tokens-minute", LEFT, TOKENS, false},
    {"mistral", "ratelimitbysize-reset", SECONDS, TOKENS, false},
    {"mistral", "ratelimitbysize-query-cost", COST, TOKENS, false},
    {"gemini", NULL, LIMIT, REQUESTS, true}, /* says it in the body alone */
};

enum { HEADERS = sizeof headers / sizeof *headers };

/* As Go prints a duration: 12ms, 7.66s, 6m0s, 1h0m0s. */
static void add_duration(struct buf *out, int ms)
{
    if (ms < 1000) {
        buf_add_format(out, "%dms", ms);
        return;
    }
    int minutes = ms / 60000;
    if (minutes >= 60)
        buf_add_format(out, "%dh", minutes / 60);
    if (minutes > 0)
        buf_add_format(out, "%dm", minutes % 60);
    if (ms % 1000)
        buf_add_format(out, "%d.%03ds", ms % 60000 / 1000, ms % 1000);
    else
        buf_add_format(out, "%ds", ms % 60000 / 1000);
}

static void add_rfc3339(struct buf *out, int64_t when_s)
{
    char text[LOOP_UTC_SIZE];

    loop_utc(text, when_s);
    buf_add_text(out, text);
}

static long long epoch_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (long long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void add_value(struct buf *out, const struct header *header, const struct mock_quota *quota)
{
    int reset = quota->reset_ms > 0 ? quota->reset_ms : 0;

    switch (header->value) {
    case LIMIT: buf_add_format(out, "%d", quota->limit[header->dimension]); return;
    case LEFT: buf_add_format(out, "%d", quota->left[header->dimension]); return;
    case COST: buf_add_text(out, "100"); return;
    case DURATION: add_duration(out, reset); return;
    case SECONDS: buf_add_format(out, "%d", (reset + 999) / 1000); return;
    case FLOAT_SECONDS: buf_add_format(out, "%.12f", reset / 1000.0); return;
    case EPOCH_MS: buf_add_format(out, "%lld", epoch_ms() + reset); return;
    case RFC3339: add_rfc3339(out, (epoch_ms() + reset + 999) / 1000); return;
    }
}

void mock_limit_add(struct buf *out, const char *provider, const struct mock_quota *quota,
                    bool refused)
{
    for (size_t i = 0; i < HEADERS; i++) {
        const struct header *header = &headers[i];
        if (strcmp(header->provider, provider) != 0 || !header->name ||
            (header->refusals_only && !refused))
            continue;
        buf_add_format(out, "%s: ", header->name);
        add_value(out, header, quota);
        buf_add_text(out, "\r\n");
    }
}

bool mock_limit_known(const char *provider)
{
    for (size_t i = 0; i < HEADERS; i++)
        if (strcmp(provider, headers[i].provider) == 0)
            return true;
    return false;
}

void mock_limit_help(struct buf *out)
{
    for (size_t i = 0; i < HEADERS; i++)
        if (i == 0 || strcmp(headers[i].provider, headers[i - 1].provider) != 0)
            buf_add_format(out, "%s%s", i ? " " : "  ", headers[i].provider);
    buf_add_text(out, "\n");
}
