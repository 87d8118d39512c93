/* ration.c -- a request's need of tokens. */
/* SPDX-License-Identifier: MIT */
#include "ration.h"
#include "loop.h"
#include <stdlib.h>

enum {
    BYTES_A_TOKEN = 4,   /* of English text in JSON, about */
    BYTES_AT_LEAST = 3,  /* of most text: what money is reserved by */
    ANSWER_TOKENS = 256, /* where nobody knows */
};

struct limits_target ration_target(const struct provider *provider, struct slice provider_name,
                                   struct slice model)
{
    return limits_target(provider_name, model, provider ? (int)provider->key_count : 1,
                         provider ? &provider->limits : NULL);
}

/* As a whole number; -1: it is none. */
static int64_t read_number(struct slice value)
{
    char text[24] = {0}, *end;

    if (value.len == 0 || value.len >= sizeof text)
        return -1;
    memcpy(text, value.ptr, value.len);
    double number = strtod(text, &end);
    return !*end && number >= 0 && number < 1e9 ? (int64_t)number : -1;
}

static int64_t number_of(const struct body *body, const char *name)
{
    const struct body_member *member = body_get(body, name);

    return member && member->kind == JSON_NUMBER ? read_number(member->value) : -1;
}

/* The same once the edits are made. */
static int64_t edited_number(const struct body *body, const struct body_edits *edits,
                             const char *name)
{
    for (size_t i = edits ? edits->count : 0; i-- > 0;) {
        const struct body_edit *edit = &edits->items[i];
        if (strcmp(edit->name, name) == 0 && !edit->inner)
            return edit->value ? read_number((struct slice){edit->value, edit->value_len}) : -1;
    }
    return number_of(body, name);
}

struct bill_need ration_need(const struct body *body, const struct body_edits *edits,
                             enum endpoint endpoint, int64_t answer_tokens)
{
    int64_t bytes = (int64_t)body->text.len, choices = edited_number(body, edits, "n");
    int64_t most = edited_number(body, edits, "max_completion_tokens");

    for (size_t i = 0; edits && i < edits->count; i++)
        bytes += (int64_t)edits->items[i].value_len;
    if (most < 0)
        most = edited_number(body, edits, "max_tokens");
    if (most < 0)
        most = answer_tokens;
    if (endpoint == ENDPOINT_EMBEDDINGS)
        most = 0;
    return (struct bill_need){bytes / BYTES_AT_LEAST + 1, most * (choices > 1 ? choices : 1)};
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
