/* ration.c -- a request's need of tokens. */
/* SPDX-License-Identifier: MIT */
#include "ration.h"
#include "leaves/loop.h"
#include <stdlib.h>

enum {
    BYTES_A_TOKEN = 4,   /* of English text in JSON, about */
    BYTES_AT_LEAST = 3,  /* of most text: what money is reserved by */
    ANSWER_TOKENS = 256, /* where nobody knows */
    MOST = 1000000000,   /* of anything that a request names: what is multiplied has to fit */
};

struct limits_target ration_target(const struct provider *provider, struct slice provider_name,
                                   struct slice model)
{
    return limits_target(provider_name, model, provider ? (int)provider->key_count : 1,
                         provider ? &provider->limits : NULL);
}

/* As a whole number, MOST at most; -1: it is none. */
static int64_t read_number(struct slice value)
{
    char text[64] = {0}, *end;

    if (value.len == 0)
        return -1;
    if (value.len >= sizeof text) /* a number is no longer than this, but for its digits' sake */
        return MOST;
    memcpy(text, value.ptr, value.len);
    double number = strtod(text, &end);
    if (*end || !(number >= 0))
        return -1;
    return number < MOST ? (int64_t)number : MOST;
}

static int64_t number_of(const struct body *body, const char *name)
{
    const struct body_member *member = body_get(body, name);

    return member && member->kind == JSON_NUMBER ? read_number(member->value) : -1;
}

/* The member's JSON once the edits are made; empty: there is none. */
static struct slice edited(const struct body *body, const struct body_edits *edits,
                           const char *name)
{
    const struct body_member *member = body_get(body, name);

    for (size_t i = edits ? edits->count : 0; i-- > 0;) {
        const struct body_edit *edit = &edits->items[i];
        if (strcmp(edit->name, name) == 0 && !edit->inner)
            return (struct slice){edit->value, edit->value ? edit->value_len : 0};
    }
    return member ? member->value : (struct slice){NULL, 0};
}

static int64_t edited_number(const struct body *body, const struct body_edits *edits,
                             const char *name)
{
    return read_number(edited(body, edits, name));
}

static int64_t larger(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* How many prompts a list holds, each of which is answered: texts, or lists of tokens.  A list of
 * numbers is one prompt. */
static int64_t prompts_in(struct slice value)
{
    int64_t count = 0;
    int depth = 0;
    bool is_text = false;

    if (!value.len || value.ptr[0] != '[')
        return 1;
    for (size_t i = 0; i < value.len; i++) {
        char c = value.ptr[i];
        if (is_text && c == '\\')
            i++;
        else if (c == '"')
            is_text = !is_text;
        else if (!is_text && (c == '[' || c == '{'))
            depth++;
        else if (!is_text && (c == ']' || c == '}'))
            depth--;
        count += (c == '"' && is_text && depth == 1) || (c == '[' && !is_text && depth == 2);
    }
    return larger(count, 1);
}

/* Answers that one request asks for. */
static int64_t answers_of(const struct body *body, const struct body_edits *edits,
                          enum endpoint endpoint)
{
    int64_t choices = larger(edited_number(body, edits, "n"), 1);

    if (endpoint == ENDPOINT_COMPLETIONS) {
        choices = larger(choices, edited_number(body, edits, "best_of"));
        choices *= prompts_in(edited(body, edits, "prompt"));
    }
    return choices < MOST ? choices : MOST;
}

/* Which of the two names a provider goes by is its own affair: the larger counts. */
struct bill_need ration_need(const struct body *body, const struct body_edits *edits,
                             enum endpoint endpoint, int64_t answer_tokens)
{
    int64_t bytes = (int64_t)body->text.len;
    int64_t most = larger(edited_number(body, edits, "max_completion_tokens"),
                          edited_number(body, edits, "max_tokens"));

    for (size_t i = 0; edits && i < edits->count; i++)
        bytes += (int64_t)edits->items[i].value_len;
    if (most < 1) /* for some servers 0 is no limit */
        most = answer_tokens;
    if (endpoint == ENDPOINT_EMBEDDINGS)
        most = 0;
    return (struct bill_need){bytes / BYTES_AT_LEAST + 1, most * answers_of(body, edits, endpoint)};
}

int64_t ration_tokens(const struct limits *limits, const struct limits_target *target,
                      const struct body *body)
{
    int64_t asked = (int64_t)(body->text.len / BYTES_A_TOKEN) + 1;
    int64_t most = number_of(body, "max_completion_tokens");
    int64_t usual = limits_tokens(limits, target);

    if (most < 0)
        most = number_of(body, "max_tokens");
    if (most >= 0)
        return asked + most;
    return usual > asked ? usual : asked + (usual ? 0 : ANSWER_TOKENS);
}

bool ration_check(struct limits *limits, const struct provider *provider, struct slice model,
                  const struct body *body, struct limits_wait *wait)
{
    struct limits_target target = ration_target(provider, slice_of(provider->name), model);
    return limits_check(limits, &target, ration_tokens(limits, &target, body), loop_now_us(), wait);
}

bool ration_take(struct limits *limits, const struct provider *provider, struct slice model,
                 const struct body *body, bool insists, struct grant *grant,
                 struct limits_wait *wait)
{
    struct limits_target target = ration_target(provider, slice_of(provider->name), model);
    int64_t tokens = ration_tokens(limits, &target, body);

    return grant_take(limits, &target, tokens, insists, loop_now_us(), grant, wait);
}
