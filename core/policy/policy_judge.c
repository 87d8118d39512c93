/* policy_judge.c -- what Lua makes of how an attempt ended, and of what its head says of quotas. */
/* SPDX-License-Identifier: MIT */
#include "leaves/log.h"
#include "leaves/loop.h"
#include "lua_core.h"
#include <math.h>

/* ---- judging a fault ---- */

static void visit_header(void *arg, struct slice name, struct slice value)
{
    lua_State *L = arg;

    lua_pushlstring(L, name.ptr, name.len);
    lua_pushlstring(L, value.ptr, value.len);
    lua_rawset(L, -3);
}

struct judging { /* for whom a fault is judged */
    struct generation *generation;
    const char *id;
    const struct policy_host *host;
    void *host_arg;
};

static void push_fault(lua_State *L, const struct judging *judging,
                       const struct policy_fault *fault)
{
    lua_createtable(L, 0, 10);
    lua_pushlstring(L, fault->target.ptr, fault->target.len);
    lua_setfield(L, -2, "target");
    lua_rawgeti(L, LUA_REGISTRYINDEX, fault->provider->settings_ref);
    lua_setfield(L, -2, "provider");
    if (fault->fault) {
        lua_pushstring(L, err_name(fault->fault));
        lua_setfield(L, -2, "fault");
    }
    lua_pushstring(L, fault->phase);
    lua_setfield(L, -2, "phase");
    if (fault->status) {
        lua_pushinteger(L, fault->status);
        lua_setfield(L, -2, "status");
    }
    lua_newtable(L);
    if (fault->attempt)
        judging->host->headers(judging->host_arg, fault->attempt, visit_header, L);
    lua_setfield(L, -2, "headers");
    if (fault->body.len) {
        lua_pushlstring(L, fault->body.ptr, fault->body.len);
        lua_setfield(L, -2, "body");
    }
    lua_pushstring(L, fault->message);
    lua_setfield(L, -2, "message");
    lua_pushboolean(L, fault->was_sent);
    lua_setfield(L, -2, "was_sent");
    lua_pushnumber(L, loop_wall_seconds());
    lua_setfield(L, -2, "now");
}

static void text_in(lua_State *L, const char *name, char *out, size_t size)
{
    size_t len = 0;

    lua_getfield(L, -1, name);
    const char *text = lua_tolstring(L, -1, &len);
    if (len >= size)
        len = size - 1;
    if (text)
        memcpy(out, text, len);
    out[len] = '\0';
    lua_pop(L, 1);
}

/* What is wrong with one key is not wrong with the others: a limit is a key's, also where it is
 * one of a model. */
static enum grant_scope scope_of(const char *scope, const char *code)
{
    if (strcmp(scope, "key") == 0)
        return GRANT_OF_KEY;
    return strcmp(code, "rate_limited") == 0 ? GRANT_OF_KEY_AND_MODEL : GRANT_OF_TARGET;
}

/* Leaves the failure, a table, on the stack. */
static struct policy_outcome judge(const struct judging *judging, const struct policy_fault *fault)
{
    lua_State *L = judging->generation->L;
    struct policy_outcome outcome = {.code = "bad_response", .retry_after = -1};
    char scope[16];

    lua_push_runtime(L, "outcome");
    push_fault(L, judging, fault);
    if (lua_call_traced(L, 1, 1) || !lua_istable(L, -1)) {
        struct log_line line = log_begin(LOG_ERROR, "outcome_failed");
        log_str(&line, "id", judging->id);
        log_str(&line, "error", lua_tostring(L, -1));
        log_end(&line);
        lua_push_code(L, "bad_response", "the failure could not be judged");
    }
    text_in(L, "code", outcome.code, sizeof outcome.code);
    text_in(L, "message", outcome.message, sizeof outcome.message);
    text_in(L, "scope", scope, sizeof scope);
    outcome.status = (int)lua_number_in(L, -1, "status", 0);
    outcome.retry_after = lua_number_in(L, -1, "retry_after", -1);
    outcome.cooldown = lua_number_in(L, -1, "cooldown", 0);
    outcome.is_said = outcome.retry_after >= 0;
    outcome.scope = scope_of(scope, outcome.code);
    text_in(L, "dimension", outcome.dimension, sizeof outcome.dimension);
    lua_getfield(L, -1, "alarm");
    outcome.alarm = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return outcome;
}

struct policy_outcome policy_judge(struct policy *policy, const struct policy_fault *fault)
{
    lua_State *L = policy->generation->L;
    struct judging judging = {policy->generation, policy->request->id, policy->host,
                              policy->host_arg};
    struct policy_outcome outcome = judge(&judging, fault);

    luaL_unref(L, LUA_REGISTRYINDEX, policy->failure_ref);
    policy->failure_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_settop(L, 0);
    return outcome;
}

struct policy_outcome generation_judge(struct generation *generation, const char *id,
                                       const struct policy_host *host,
                                       const struct policy_fault *fault)
{
    struct judging judging = {generation, id, host, NULL};
    struct policy_outcome outcome = judge(&judging, fault);

    lua_settop(generation->L, 0);
    return outcome;
}

void policy_note_other_key(struct policy *policy)
{
    lua_State *L = policy->generation->L;

    lua_rawgeti(L, LUA_REGISTRYINDEX, policy->failure_ref);
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "other_key");
    lua_settop(L, 0);
}

/* ---- what headers say of quotas ---- */

/* { dimension =, scope =, limit =, remaining =, reset = } is on top; false when no dimension of
 * ours is meant. */
static bool read_word(lua_State *L, struct quota_word *word)
{
    char dimension[16], scope[8];

    text_in(L, "dimension", dimension, sizeof dimension);
    text_in(L, "scope", scope, sizeof scope);
    double reset = lua_number_in(L, -1, "reset", -1);
    *word = (struct quota_word){
        .dimension = quota_named(slice_of(dimension)),
        .is_of_key = strcmp(scope, "key") == 0,
        .limit = (int64_t)lua_number_in(L, -1, "limit", -1),
        .left = (int64_t)lua_number_in(L, -1, "remaining", -1),
        .wait_us = reset >= 0 ? (int64_t)(reset * 1e6) : -1,
    };
    return word->dimension < QUOTA_COUNT;
}

static size_t read_words(lua_State *L, struct quota_word *words, size_t most)
{
    size_t count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0, found = 0;

    for (size_t i = 1; i <= count && found < most; i++) {
        lua_rawgeti(L, -1, (int)i);
        if (lua_istable(L, -1) && read_word(L, &words[found]))
            found++;
        lua_pop(L, 1);
    }
    return found;
}

size_t generation_quotas(struct generation *generation, const struct provider *provider,
                         const struct policy_header *headers, size_t count,
                         struct quota_word *words, size_t most)
{
    lua_State *L = generation->L;
    size_t found = 0;

    lua_rawgeti(L, LUA_REGISTRYINDEX, provider->settings_ref);
    lua_getfield(L, -1, "quotas"); /* [settings, quotas] */
    lua_createtable(L, 0, (int)count);
    for (size_t i = 0; i < count; i++)
        visit_header(L, headers[i].name, headers[i].value);
    lua_pushnumber(L, loop_wall_seconds());
    if (lua_call_traced(L, 2, 1) == 0) {
        found = read_words(L, words, most);
    } else {
        struct log_line line = log_begin(LOG_ERROR, "quotas_failed");
        log_str(&line, "provider", provider->name);
        log_str(&line, "error", lua_tostring(L, -1));
        log_end(&line);
    }
    lua_settop(L, 0);
    return found;
}
