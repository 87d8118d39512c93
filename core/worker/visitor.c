/* visitor.c -- unknown, expired and revoked keys go the same way, and hear the same. */
/* SPDX-License-Identifier: MIT */
#include "visitor.h"
#include "accounts/bill.h"
#include "policy/config.h"
#include "policy/secret.h"
#include <strings.h>

static const struct answer_error not_ready = {.status = 503,
                                              .type = "server_error",
                                              .code = "ledger_unavailable",
                                              .message = "the ledger's keys are not loaded yet",
                                              .retry_after = 1};
static const struct answer_error wrong_key = {
    .status = 401,
    .type = "authentication_error",
    .code = "invalid_api_key",
    .message = "the key in the authorization header is not one of this gateway's"};
static const struct answer_error no_key = {
    .status = 401,
    .type = "authentication_error",
    .code = "invalid_api_key",
    .message = "this gateway wants a key: send it as authorization: Bearer KEY"};

/* The text of the key; empty: none is said. */
static struct slice key_in(struct slice authorization)
{
    static const struct slice bearer = {"Bearer ", 7};

    if (authorization.len < bearer.len ||
        strncasecmp(authorization.ptr, bearer.ptr, bearer.len) != 0)
        return (struct slice){"", 0};
    return (struct slice){authorization.ptr + bearer.len, authorization.len - bearer.len};
}

/* All keys are compared, so that time tells nothing about them. */
static const struct secret *find(const struct config *config, struct slice key)
{
    const struct secret *found = NULL;

    for (size_t i = 0; i < config->key_count; i++)
        if (secret_equals(config->keys[i], key))
            found = config->keys[i];
    return found;
}

bool visitor_is_known(const struct visitor_door *door, struct slice authorization, int32_t pass,
                      struct keys_account *caller, const char **key_name)
{
    *key_name = NULL;
    if (door->config->has_ledger) {
        bool is_known = pass ? bills_get(door->bills, pass, caller)
                             : bills_find(door->bills, key_in(authorization), caller);
        *key_name = is_known ? caller->name : NULL;
        caller->number = is_known ? caller->number : 0;
        return is_known;
    }
    caller->number = 0;
    const struct secret *key =
        door->config->key_count ? find(door->config, key_in(authorization)) : NULL;
    if (key)
        *key_name = secret_name(key);
    return key || door->config->key_count == 0;
}

struct answer_error visitor_refusal(const struct visitor_door *door, struct slice authorization)
{
    if (door->config->has_ledger && !bills_are_ready(door->bills))
        return not_ready;
    return authorization.len ? wrong_key : no_key;
}

/* Written once: they are the same for all. */
static const char *refusal_text(bool is_said)
{
    static struct buf texts[2];
    struct buf *text = &texts[is_said];

    if (!text->len) {
        answer_error_json(is_said ? &wrong_key : &no_key, text);
        buf_add_char(text, '\0');
    }
    return text->ptr;
}

const char *visitor_screen(const struct visitor_door *door, struct slice authorization,
                           int32_t *pass)
{
    struct keys_account caller;
    const char *key_name;

    if (visitor_is_known(door, authorization, 0, &caller, &key_name)) {
        *pass = caller.number;
        return NULL;
    }
    bool is_later = door->config->has_ledger && !bills_are_ready(door->bills);
    return is_later ? NULL : refusal_text(authorization.len > 0);
}
