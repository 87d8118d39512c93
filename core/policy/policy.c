/* policy.c -- policies: coroutines that run in a generation.
 *
 *               policy_run
 *                   v
 *   +--------> RUNNING ---- returns or raises ---> FINISHED
 *   |           |   |
 *   |   req:send|   |weir.sleep
 *   |           v   v
 *   |      SENDING  SLEEPING
 *   |           |   |
 *   +-----------+---+   policy_resume_answer, _failure, _sleep
 *
 * FINISHED -> RUNNING [policy_go_on]  its stream broke, and res:on_break was used
 *
 * The edges are in resume(); a yield always has a host function behind it. */
/* SPDX-License-Identifier: MIT */
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "lua_core.h"
#include <assert.h>

static void resume(struct policy *policy, int args);

static void raise_in_log(struct policy *policy)
{
    lua_State *L = policy->generation->L, *co = policy->co;
    const char *message = lua_tostring(co, -1);

    luaL_traceback(L, co, message ? message : "an error that is no text", 0);
    lua_give_coroutine(policy, false);
    struct buf text = {0};
    buf_add_text(&text, lua_tostring(L, -1));
    buf_add_char(&text, '\0');
    lua_settop(L, 0);
    if (policy->overran == LUA_GUARD_MEMORY)
        lua_guard_recover(&policy->generation->guard);
    lua_reply_fail(policy, text.ptr);
    buf_free(&text);
}

/* ---- a stream that goes on ---- */

static void log_break(struct policy *policy, const char *error)
{
    struct log_line line = log_begin(LOG_ERROR, "on_break_error");

    log_str(&line, "id", policy->request->id);
    log_str(&line, "code", lua_guard_code(policy->overran, "policy_error"));
    log_int(&line, "generation", policy->generation->number);
    log_str(&line, "error", error);
    log_end(&line);
}

/* The response that on_break's functions gave, if it can go on; its results are the stack. */
static struct lua_response *find_next(struct policy *policy)
{
    lua_State *co = policy->co;
    struct lua_response *next = lua_response_test(co, 1);

    if (next && next->policy == policy && next->attempt)
        return next;
    if (!lua_isnoneornil(co, 1))
        log_break(policy, "on_break gives the response of its last req:send, or nothing");
    return NULL;
}

static void finish_break(struct policy *policy, int status)
{
    lua_State *L = policy->generation->L, *co = policy->co;
    struct policy_result result = {.kind = POLICY_NOBODY};
    struct lua_response *next = status ? NULL : find_next(policy);

    if (status) {
        const char *message = lua_tostring(co, -1);
        luaL_traceback(L, co, message ? message : "an error that is no text", 0);
        log_break(policy, lua_tostring(L, -1));
    }
    lua_give_coroutine(policy, status == 0);
    policy->goes_on = false;
    if (next) {
        lua_response_adopt(L, policy->committed, next);
        result =
            (struct policy_result){.kind = POLICY_RESPONSE, .attempt = policy->committed->attempt};
    }
    lua_settop(L, 0);
    if (policy->overran == LUA_GUARD_MEMORY)
        lua_guard_recover(&policy->generation->guard);
    policy->host->on_finish(policy->host_arg, &result);
}

bool policy_may_go_on(const struct policy *policy)
{
    return policy->committed && policy->committed->breaks_ref != LUA_NOREF && !policy->overran;
}

void policy_go_on(struct policy *policy, struct slice said)
{
    lua_State *L = policy->generation->L;

    if (!policy->co) /* else it is the filters', between two events */
        lua_take_coroutine(policy);
    luaL_checkstack(policy->co, 8, "no room");
    policy->goes_on = true;
    policy->committed->attempt = NULL; /* the host's alone from here on */
    lua_push_runtime(L, "go_on");
    lua_rawgeti(L, LUA_REGISTRYINDEX, policy->committed->breaks_ref);
    lua_pushlstring(L, said.ptr ? said.ptr : "", said.len);
    lua_rawgeti(L, LUA_REGISTRYINDEX, policy->failure_ref);
    luaL_unref(L, LUA_REGISTRYINDEX, policy->failure_ref);
    policy->failure_ref = LUA_NOREF;
    lua_xmove(L, policy->co, 4);
    resume(policy, 3);
}

static void resume(struct policy *policy, int args)
{
    policy->state = POLICY_RUNNING;
    int status = lua_resume_policy(policy, args);

    if (status == LUA_YIELD) {
        assert(policy->state == POLICY_SENDING || policy->state == POLICY_SLEEPING);
        return;
    }
    policy->state = POLICY_FINISHED;
    if (policy->goes_on)
        finish_break(policy, status);
    else if (status)
        raise_in_log(policy);
    else
        lua_reply_finish(policy);
}

/* ---- the life of a policy ---- */

struct policy *policy_new(struct generation *generation, const struct policy_request *request,
                          const struct policy_host *host, void *arg)
{
    struct policy *policy = mem_new(sizeof *policy);

    policy->generation = generation;
    policy->request = request;
    policy->host = host;
    policy->host_arg = arg;
    policy->failure_ref = policy->body_ref = policy->request_ref = LUA_NOREF;
    lua_take_coroutine(policy);
    return policy;
}

void policy_run(struct policy *policy)
{
    lua_rawgeti(policy->co, LUA_REGISTRYINDEX,
                generation_policy_ref(policy->generation, policy->request->model));
    lua_request_push(policy->co, policy);
    resume(policy, 1);
}

void policy_resume_answer(struct policy *policy, const struct policy_answer *answer)
{
    lua_response_push(policy->co, policy, answer);
    resume(policy, 1);
}

void policy_resume_failure(struct policy *policy)
{
    lua_State *L = policy->generation->L;

    lua_pushnil(policy->co);
    lua_rawgeti(policy->co, LUA_REGISTRYINDEX, policy->failure_ref);
    luaL_unref(L, LUA_REGISTRYINDEX, policy->failure_ref);
    policy->failure_ref = LUA_NOREF;
    resume(policy, 2);
}

void policy_resume_sleep(struct policy *policy)
{
    resume(policy, 0);
}

/* ---- after the commit point ---- */

static void set_count(lua_State *L, const char *name, int64_t count)
{
    if (count < 0)
        return;
    lua_pushnumber(L, (lua_Number)count);
    lua_setfield(L, -2, name);
}

static void push_end(lua_State *L, const struct policy_end *end)
{
    lua_createtable(L, 0, 4);
    lua_createtable(L, 0, 5);
    set_count(L, "prompt_tokens", end->usage.prompt);
    set_count(L, "completion_tokens", end->usage.completion);
    set_count(L, "total_tokens", end->usage.total);
    set_count(L, "cached_tokens", end->usage.cached);
    set_count(L, "reasoning_tokens", end->usage.reasoning);
    lua_setfield(L, -2, "usage");
    lua_pushstring(L, end->code);
    lua_setfield(L, -2, "code");
    lua_pushnumber(L, (double)end->first_ms / 1000);
    lua_setfield(L, -2, "first");
    lua_pushnumber(L, (double)end->total_ms / 1000);
    lua_setfield(L, -2, "total");
}

const char *policy_code(const struct policy *policy)
{
    return lua_guard_code(policy->overran, "policy_error");
}

const char *policy_sentence(const struct policy *policy)
{
    return lua_guard_sentence(policy->overran,
                              "the gateway's filter failed; its log has the reason under this "
                              "request's id");
}

void policy_end(struct policy *policy, const struct policy_end *end)
{
    lua_State *L = policy->generation->L;

    if (!policy->committed || policy->committed->ends_ref == LUA_NOREF)
        return;
    policy->generation->running = policy;
    lua_guard_enter(&policy->generation->guard); /* one burst for all of them */
    lua_rawgeti(L, LUA_REGISTRYINDEX, policy->committed->ends_ref);
    size_t count = lua_objlen(L, 1);
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, 1, (int)i);
        push_end(L, end);
        if (lua_call_traced(L, 1, 0)) {
            struct log_line line = log_begin(LOG_ERROR, "on_end_error");
            log_str(&line, "id", policy->request->id);
            log_str(&line, "code", lua_guard_code(policy->generation->cause, "policy_error"));
            log_str(&line, "error", lua_tostring(L, -1));
            log_end(&line);
            lua_pop(L, 1);
        }
    }
    enum lua_guard_cause cause = lua_guard_leave(&policy->generation->guard);
    policy->generation->running = NULL;
    lua_settop(L, 0);
    if (cause == LUA_GUARD_MEMORY)
        lua_guard_recover(&policy->generation->guard);
}

void policy_slim(struct policy *policy)
{
    lua_State *L = policy->generation->L;

    lua_body_close(L, policy->body_ref);
    policy->body_ref = LUA_NOREF;
    body_edits_free(&policy->edits);
}

void policy_free(struct policy *policy)
{
    if (!policy)
        return;
    lua_State *L = policy->generation->L;

    if (policy->request_slot)
        *policy->request_slot = NULL;
    lua_filter_close(policy);
    while (policy->responses)
        lua_response_close(L, policy->responses);
    lua_give_coroutine(policy, false);
    luaL_unref(L, LUA_REGISTRYINDEX, policy->request_ref);
    lua_body_close(L, policy->body_ref);
    luaL_unref(L, LUA_REGISTRYINDEX, policy->failure_ref);
    body_edits_free(&policy->edits);
    mem_free(policy);
}
