/* ration.c -- a request's need of tokens. */
/* SPDX-License-Identifier: MIT */
#include "ration.h"
#include "loop.h"
#include <stdlib.h>

enum {
    BYTES_A_TOKEN = 4,   /* of English text in JSON, about */
    ANSWER_TOKENS = 256, /* where nobody knows */
};

struct limits_target ration_target(const struct provider *provider, struct slice provider_name,
                                   struct slice model)
{
    return limits_target(provider_name, model, provider ? (int)provider->key_count : 1,
                         provider ? &provider->limits : NULL);
}

/* The member as a whole number; -1: it is none. */
static int64_t number_of(const struct body *body, const char *name)
{
    const struct body_member *member = body_get(body, name);
    char text[24] = {0};

    if (!member || member->kind != JSON_NUMBER || member->value.len >= sizeof text)
        return -1;
    memcpy(text, member->value.ptr, member->value.len);
    double number = strtod(text, NULL);
    return number >= 0 && number < 1e9 ? (int64_t)number : -1;
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
