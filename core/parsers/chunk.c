/* chunk.c -- one walk over a message of a stream.
 *
 * read_ functions stand before a value and leave the scan behind it; they look
 * into the values whose shape they know and step over the others, whatever
 * those are: a provider may send null, or a string, where an object belongs. */
/* SPDX-License-Identifier: MIT */
#include "chunk.h"
#include "json.h"
#include "json_plain.h"
#include <stdlib.h>

enum { TOKENS_MAX = 1000000000 };    /* of one answer; models take millions */
static const double COST_MAX = 1e12; /* micro-dollars: a million dollars */

struct walk { /* what is known before the message has been seen whole */
    struct json json;
    struct chunk *chunk;
    struct slice response_error; /* of the Responses API */
    bool is_failure;             /* the type says so */
    bool is_list;                /* has type or data: no chat chunk */
};

static void read_top(struct walk *walk);
static void read_type(struct walk *walk);
static void read_response(struct walk *walk);
static void read_error(struct walk *walk, struct slice *error);
static void read_choices(struct walk *walk);
static void read_choice(struct walk *walk);
static void read_message(struct walk *walk);
static void read_text(struct walk *walk, enum chunk_kind kind);
static void read_tool_calls(struct walk *walk);
static void read_finish(struct walk *walk);
static void read_x_groq(struct walk *walk);
static void read_usage(struct walk *walk);
static void read_usage_detail(struct walk *walk, const char *wanted, int64_t *number);
static int64_t read_cost_detail(struct walk *walk);
static int64_t read_cost(struct walk *walk);
static int64_t read_count(struct walk *walk);
static int64_t read_number(struct walk *walk);
static bool is_filled_list(struct slice value);
static size_t said_in(struct slice value);
static void claim(struct chunk *chunk, enum chunk_kind kind, struct slice text);
static void settle(struct walk *walk, struct slice data);
static int64_t larger(int64_t a, int64_t b);

/* Names are compared as written; only one with escapes takes the long way. */
static inline bool named(const struct walk *walk, struct slice name, const char *text)
{
    return walk->json.escaped ? json_string_is(name, text) : slice_is(name, text);
}

static inline struct slice inside_of(struct slice string)
{
    return (struct slice){string.ptr + 1, string.len - 2};
}

/* True of the span of a string with something in it. */
static inline bool is_text(struct slice value)
{
    return value.len > 2 && *value.ptr == '"';
}

enum err chunk_read(struct slice data, struct chunk *chunk)
{
    const struct chunk nothing = {.choices = -1, .cost = -1, .count = chunk_usage_none()};
    struct walk walk = {.json = json_init(data), .chunk = chunk};
    size_t offset;

    *chunk = nothing;
    read_top(&walk);
    enum err err = json_finish(&walk.json);
    if (!err) {
        settle(&walk, data);
        return ERR_OK;
    }
    *chunk = nothing;
    if (err == ERR_TYPE) /* no object: but is it JSON at all? */
        err = json_check(data, &offset);
    return err ? err : ERR_TYPE;
}

void chunk_usage_merge(struct chunk_usage *into, const struct chunk_usage *from)
{
    into->prompt = larger(into->prompt, from->prompt);
    into->completion = larger(into->completion, from->completion);
    into->total = larger(into->total, from->total);
    into->cached = larger(into->cached, from->cached);
    into->reasoning = larger(into->reasoning, from->reasoning);
}

static int64_t sum(int64_t a, int64_t b)
{
    return a < 0 ? b : b < 0 ? a : a + b;
}

void chunk_usage_add(struct chunk_usage *into, const struct chunk_usage *more)
{
    into->prompt = sum(into->prompt, more->prompt);
    into->completion = sum(into->completion, more->completion);
    into->total = sum(into->total, more->total);
    into->cached = sum(into->cached, more->cached);
    into->reasoning = sum(into->reasoning, more->reasoning);
}

struct chunk_usage chunk_usage_none(void)
{
    return (struct chunk_usage){-1, -1, -1, -1, -1};
}

bool chunk_commits(const struct chunk *chunk)
{
    switch (chunk->kind) {
    case CHUNK_CONTENT:
    case CHUNK_REASONING:
    case CHUNK_TOOL_CALL:
    case CHUNK_FINISH: return true;
    case CHUNK_OTHER:
    case CHUNK_ROLE:
    case CHUNK_USAGE:
    case CHUNK_ERROR: return false;
    }
    return false;
}

const char *chunk_kind_name(enum chunk_kind kind)
{
    static const char *const NAMES[] = {
        [CHUNK_OTHER] = "other",         [CHUNK_ROLE] = "role",
        [CHUNK_CONTENT] = "content",     [CHUNK_REASONING] = "reasoning",
        [CHUNK_TOOL_CALL] = "tool_call", [CHUNK_FINISH] = "finish",
        [CHUNK_USAGE] = "usage",         [CHUNK_ERROR] = "error",
    };
    return NAMES[kind];
}

static void read_top(struct walk *walk)
{
    struct json *json = &walk->json;
    struct slice name;

    json_enter_object(json);
    while (json_plain_next_member(json, &name)) {
        if (named(walk, name, "choices"))
            read_choices(walk);
        else if (named(walk, name, "usage"))
            read_usage(walk);
        else if (named(walk, name, "error"))
            read_error(walk, &walk->chunk->error);
        else if (named(walk, name, "x_groq"))
            read_x_groq(walk);
        else if (named(walk, name, "type"))
            read_type(walk);
        else if (named(walk, name, "response"))
            read_response(walk);
        else if (named(walk, name, "data"))
            walk->is_list = true;
    }
}

/* Messages of the Responses API and of Anthropic's have a type. */
static void read_type(struct walk *walk)
{
    struct slice value = json_skip(&walk->json);

    walk->is_list = true;
    if (value.len == 0 || *value.ptr != '"')
        return;
    struct slice type = inside_of(value);
    walk->is_failure = json_string_is(type, "error") || json_string_is(type, "response.failed");
}

static void read_response(struct walk *walk)
{
    struct slice name;

    if (!json_open_object(&walk->json))
        return;
    while (json_next_member(&walk->json, &name))
        if (named(walk, name, "error"))
            read_error(walk, &walk->response_error);
}

/* Any value but null is an error: an object, a text, a code. */
static void read_error(struct walk *walk, struct slice *error)
{
    struct slice value = json_skip(&walk->json);

    if (value.len && *value.ptr != 'n' && !error->ptr)
        *error = value;
}

static void read_choices(struct walk *walk)
{
    struct json *json = &walk->json;

    if (!json_open_array(&walk->json))
        return;
    walk->chunk->choices = 0;
    while (json_next_element(json)) {
        if (json_open_object(&walk->json))
            read_choice(walk);
        walk->chunk->choices++;
    }
}

/* Inside the object. */
static void read_choice(struct walk *walk)
{
    struct json *json = &walk->json;
    struct slice name;

    claim(walk->chunk, CHUNK_ROLE, (struct slice){0});
    while (json_plain_next_member(json, &name)) {
        if (named(walk, name, "delta") || named(walk, name, "message"))
            read_message(walk);
        else if (named(walk, name, "text"))
            read_text(walk, CHUNK_CONTENT);
        else if (named(walk, name, "finish_reason"))
            read_finish(walk);
        else if (named(walk, name, "usage") && !walk->chunk->usage.ptr) /* Moonshot's */
            read_usage(walk);
        else if (named(walk, name, "error"))
            read_error(walk, &walk->chunk->error);
        else if (named(walk, name, "index")) {
            int64_t index = read_number(walk);
            if (walk->chunk->choices == 0 && index > 0 && index <= INT32_MAX)
                walk->chunk->index = (int)index;
        }
    }
}

/* A delta, or the message of a plain answer. */
static void read_message(struct walk *walk)
{
    struct json *json = &walk->json;
    struct slice name;

    if (!json_open_object(&walk->json))
        return;
    while (json_plain_next_member(json, &name)) {
        if (named(walk, name, "content") || named(walk, name, "refusal"))
            read_text(walk, CHUNK_CONTENT);
        else if (named(walk, name, "reasoning") || named(walk, name, "reasoning_content"))
            read_text(walk, CHUNK_REASONING);
        else if (named(walk, name, "tool_calls") || named(walk, name, "function_call"))
            read_tool_calls(walk);
    }
}

/* A string, or the list of parts that Mistral's thinking models send. */
static void read_text(struct walk *walk, enum chunk_kind kind)
{
    struct slice value = json_skip(&walk->json);

    if (is_text(value)) {
        walk->chunk->said += value.len - 2;
        claim(walk->chunk, kind, inside_of(value));
    } else if (is_filled_list(value)) {
        walk->chunk->said += said_in(value);
        claim(walk->chunk, kind, (struct slice){0});
    }
}

/* A list with something in it, or the single object of old function calls. */
static void read_tool_calls(struct walk *walk)
{
    struct slice value = json_skip(&walk->json);

    if (!is_filled_list(value) && !(value.len && *value.ptr == '{'))
        return;
    walk->chunk->calls_tool = true;
    walk->chunk->said += said_in(value);
    claim(walk->chunk, CHUNK_TOOL_CALL, (struct slice){0});
}

/* Bytes of the texts in parts of a content and in tool calls: what a model wrote, not what wraps
 * it.  Some servers send arguments as an object. */
static size_t said_in(struct slice value)
{
    static const char *const wraps[] = {"text", "thinking", "function", "custom", "name"};
    struct json json = json_init(value);
    struct slice name;
    size_t said = 0;

    if (value.len == 0 || (*value.ptr != '[' && *value.ptr != '{'))
        return is_text(value) ? value.len - 2 : 0;
    if (*value.ptr == '[') {
        for (json_enter_array(&json); json_next_element(&json);)
            said += said_in(json_skip(&json));
        return said;
    }
    json_enter_object(&json);
    while (json_next_member(&json, &name)) {
        struct slice inner = json_skip(&json);
        if (json_string_is(name, "arguments") || json_string_is(name, "input"))
            said += is_text(inner) ? inner.len - 2 : inner.len && *inner.ptr == '{' ? inner.len : 0;
        for (size_t i = 0; i < sizeof wraps / sizeof *wraps; i++)
            said += json_string_is(name, wraps[i]) ? said_in(inner) : 0;
    }
    return said;
}

/* Some servers send "" where they mean null. */
static void read_finish(struct walk *walk)
{
    struct slice value = json_skip(&walk->json);

    if (!is_text(value))
        return;
    claim(walk->chunk, CHUNK_FINISH, (struct slice){0});
    if (!walk->chunk->finish.ptr)
        walk->chunk->finish = inside_of(value);
}

/* Groq's own member: usage on the last chunk, or why a stream stopped early. */
static void read_x_groq(struct walk *walk)
{
    struct slice name;

    if (!json_open_object(&walk->json))
        return;
    while (json_next_member(&walk->json, &name)) {
        if (named(walk, name, "usage") && !walk->chunk->usage.ptr)
            read_usage(walk);
        else if (named(walk, name, "error"))
            read_error(walk, &walk->chunk->error);
    }
}

static void read_usage(struct walk *walk)
{
    struct json *json = &walk->json;
    struct chunk_usage *count = &walk->chunk->count;
    struct slice name;

    if (!json_open_object(&walk->json))
        return;
    const char *from = json->ptr - 1;
    int64_t cost = -1, own = -1;
    bool is_own = false;
    *count = chunk_usage_none();
    while (json_next_member(json, &name)) {
        if (named(walk, name, "prompt_tokens"))
            count->prompt = read_count(walk);
        else if (named(walk, name, "completion_tokens"))
            count->completion = read_count(walk);
        else if (named(walk, name, "total_tokens"))
            count->total = read_count(walk);
        else if (named(walk, name, "prompt_cache_hit_tokens") || named(walk, name, "cached_tokens"))
            count->cached = larger(count->cached, read_count(walk)); /* DeepSeek's, Moonshot's */
        else if (named(walk, name, "prompt_tokens_details"))
            read_usage_detail(walk, "cached_tokens", &count->cached);
        else if (named(walk, name, "completion_tokens_details"))
            read_usage_detail(walk, "reasoning_tokens", &count->reasoning);
        else if (named(walk, name, "cost"))
            cost = read_cost(walk);
        else if (named(walk, name, "is_byok"))
            is_own = slice_is(json_skip(json), "true");
        else if (named(walk, name, "cost_details"))
            own = read_cost_detail(walk);
    }
    walk->chunk->cost = cost >= 0 && is_own && own > 0 ? cost + own : cost;
    walk->chunk->usage = (struct slice){from, (size_t)(json->ptr - from)};
}

static void read_usage_detail(struct walk *walk, const char *wanted, int64_t *number)
{
    struct slice name;

    if (!json_open_object(&walk->json))
        return;
    while (json_next_member(&walk->json, &name))
        if (named(walk, name, wanted))
            *number = read_count(walk);
}

/* What whoever brought a key of its own pays there, beside the cost
 * (https://openrouter.ai/docs/use-cases/usage-accounting). */
static int64_t read_cost_detail(struct walk *walk)
{
    struct slice name;
    int64_t cost = -1;

    if (!json_open_object(&walk->json))
        return -1;
    while (json_next_member(&walk->json, &name))
        if (named(walk, name, "upstream_inference_cost"))
            cost = read_cost(walk);
    return cost;
}

/* Dollars, as micro-dollars, rounded up but for what the binary fraction adds. */
static int64_t read_cost(struct walk *walk)
{
    struct slice value = json_skip(&walk->json);
    char text[64] = {0};

    if (value.len == 0 || value.len >= sizeof text || *value.ptr < '0' || *value.ptr > '9')
        return -1;
    memcpy(text, value.ptr, value.len);
    double micro = strtod(text, NULL) * 1e6;
    return micro <= COST_MAX ? (int64_t)(micro + 0.999999) : -1;
}

/* What no answer has is a mistake: then nothing is known. */
static int64_t read_count(struct walk *walk)
{
    int64_t count = read_number(walk);

    return count <= TOKENS_MAX ? count : -1;
}

/* A count: the whole part of a number, -1 for what is none or does not fit. */
static int64_t read_number(struct walk *walk)
{
    struct slice value = json_skip(&walk->json);
    int64_t number = 0;

    if (value.len == 0)
        return -1;
    if (memchr(value.ptr, 'e', value.len) || memchr(value.ptr, 'E', value.len))
        return -1; /* nobody counts so, and the whole part would be another number */
    for (size_t i = 0; i < value.len && value.ptr[i] != '.'; i++) {
        int digit = value.ptr[i] - '0';
        if (digit < 0 || digit > 9 || number > (INT64_MAX - digit) / 10)
            return -1;
        number = 10 * number + digit;
    }
    return number;
}

/* True of the span of a list with something in it. */
static bool is_filled_list(struct slice value)
{
    if (value.len <= 2 || *value.ptr != '[')
        return false;
    struct json json = json_init(value);
    return json_enter_array(&json) && json_next_element(&json);
}

/* The strongest thing that is said gives the chunk its kind and text. */
static void claim(struct chunk *chunk, enum chunk_kind kind, struct slice text)
{
    static const int STRENGTH[] = {
        [CHUNK_OTHER] = 0,     [CHUNK_USAGE] = 1,     [CHUNK_ROLE] = 2,    [CHUNK_FINISH] = 3,
        [CHUNK_REASONING] = 4, [CHUNK_TOOL_CALL] = 5, [CHUNK_CONTENT] = 6, [CHUNK_ERROR] = 7,
    };

    if (STRENGTH[kind] <= STRENGTH[chunk->kind])
        return;
    chunk->kind = kind;
    chunk->text = text;
}

static void settle(struct walk *walk, struct slice data)
{
    struct chunk *chunk = walk->chunk;

    if (walk->is_failure && !chunk->error.ptr)
        chunk->error = walk->response_error.ptr ? walk->response_error : data;
    if (chunk->error.ptr)
        claim(chunk, CHUNK_ERROR, (struct slice){0});
    else if (chunk->usage.ptr && chunk->choices <= 0 && !walk->is_list)
        claim(chunk, CHUNK_USAGE, (struct slice){0});
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}
