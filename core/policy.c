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
#include "head.h"
#include "log.h"
#include "loop.h"
#include "lua_core.h"
#include "mem.h"
#include <assert.h>

/* ---- how a policy ends ---- */

static void finish_with_error(struct policy *policy, const char *message);
static void resume(struct policy *policy, int args);

static void tell_reply(struct policy *policy, int status, struct slice headers, struct slice body,
                       const char *code)
{
    struct policy_result result = {
        .kind = POLICY_REPLY, .status = status, .headers = headers, .body = body, .code = code};
    policy->host->on_finish(policy->host_arg, &result);
}

/* Headers of a reply: a table name -> value on top of the stack. */
static void add_headers(lua_State *L, struct buf *headers)
{
    if (!lua_istable(L, -1))
        return;
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pushvalue(L, -2); /* [name, value, name]: tostring must not touch the key itself */
        const char *name = lua_tostring(L, -1);
        const char *value = lua_tostring(L, -2);
        if (!name || !value || !head_add_checked(headers, slice_of(name), slice_of(value))) {
            struct log_line line = log_begin(LOG_WARN, "reply_header_refused");
            log_str(&line, "name", name);
            log_end(&line);
        }
        lua_pop(L, 2);
    }
}

/* The status of the reply on top; 0: none that may be sent, which the policy wrote into it. */
static int status_of(lua_State *L)
{
    lua_getfield(L, -1, "status");
    lua_Integer status = lua_tointeger(L, -1);
    lua_pop(L, 1);
    return status >= 200 && status <= 599 && status != 204 && status != 205 ? (int)status : 0;
}

/* The body of the reply on top, a table or text; false with a message pushed. */
static bool add_body(lua_State *L, struct buf *body)
{
    lua_getfield(L, -1, "body");
    if (lua_type(L, -1) == LUA_TSTRING) {
        size_t len;
        const char *text = lua_tolstring(L, -1, &len);
        buf_add(body, (struct slice){text, len});
    } else if (!lua_json_encode(L, lua_gettop(L), body)) {
        lua_pushfstring(L, "the body of a reply: %s", lua_tostring(L, -1));
        return false;
    }
    lua_pop(L, 1);
    return true;
}

/* [reply] is on top: { status, headers, body }. */
static void finish_with_table(struct policy *policy, lua_State *L, const char *code)
{
    struct buf headers = {0}, body = {0};
    int status = status_of(L);

    if (!status)
        lua_pushliteral(L, "the status of a reply: not 200 to 599, or one without a body");
    if (!status || !add_body(L, &body)) {
        buf_free(&body);
        finish_with_error(policy, lua_tostring(L, -1));
        return;
    }
    lua_getfield(L, -1, "headers");
    add_headers(L, &headers);
    lua_pop(L, 1);
    lua_getfield(L, -1, "content_type");
    head_add(&headers, "content-type",
             slice_of(lua_tostring(L, -1) ? lua_tostring(L, -1) : "application/json"));
    lua_pop(L, 1);
    tell_reply(policy, status, buf_slice(&headers), buf_slice(&body), code);
    buf_free(&headers);
    buf_free(&body);
}

/* Pushes the seconds until a target that req:available left out is back, or nil. */
static void push_soonest(lua_State *L, const struct policy *policy)
{
    int64_t wait_us = policy->soonest_us - loop_now_us();

    if (wait_us > 0)
        lua_pushnumber(L, (double)wait_us / 1e6);
    else
        lua_pushnil(L);
}

static int code_of(lua_State *L)
{
    lua_getfield(L, 1, "code");
    return 1;
}

/* The code of the err on top, for the log.  Reading it may raise: the table is a policy's. */
static void add_code(lua_State *L, struct buf *code)
{
    lua_pushcfunction(L, code_of);
    lua_pushvalue(L, -2);
    bool is_read = lua_call_traced(L, 1, 1) == 0 && lua_tostring(L, -1);
    buf_add_text(code, is_read ? lua_tostring(L, -1) : "policy_error");
    buf_add_char(code, '\0');
    lua_pop(L, 1);
}

/* [err] is on top of L: words it for the client and tells the host. */
static void finish_with_failure(struct policy *policy, lua_State *L)
{
    struct buf code = {0};

    add_code(L, &code);
    lua_push_runtime(L, "failure");
    lua_insert(L, -2);
    lua_push_trail(L, policy);
    push_soonest(L, policy); /* [failure, err, trail, soonest] */
    if (lua_call_traced(L, 3, 1) || !lua_istable(L, -1)) {
        struct log_line line = log_begin(LOG_ERROR, "failure_not_worded");
        log_str(&line, "id", policy->request->id);
        log_str(&line, "error", lua_tostring(L, -1));
        log_end(&line);
        tell_reply(policy, 500, SLICE("content-type: application/json\r\n"),
                   SLICE("{\"error\":{\"message\":\"the gateway failed\",\"type\":\"server_error\","
                         "\"param\":null,\"code\":\"internal_error\"}}"),
                   "internal_error");
    } else {
        finish_with_table(policy, L, code.ptr);
    }
    buf_free(&code);
}

/* Pushes { code =, message = } and more where all targets cool. */
static void push_err(struct policy *policy, lua_State *L, const char *code, const char *message)
{
    lua_push_code(L, code, message);
    if (policy->soonest_us > loop_now_us()) {
        push_soonest(L, policy);
        lua_setfield(L, -2, "retry_after");
        lua_pushstring(L, policy->cooling_reason);
        lua_setfield(L, -2, "reason");
    }
}

static const char *const sentences[] = {
    [LUA_GUARD_NONE] = "the gateway's policy failed; its log has the reason under this request's "
                       "id",
    [LUA_GUARD_TIMEOUT] = "the gateway's policy ran for longer than it may; its log has the place "
                          "under this request's id",
    [LUA_GUARD_MEMORY] = "the gateway's policy used more memory than it may; its log has the place "
                         "under this request's id",
};

static void finish_with_error(struct policy *policy, const char *message)
{
    lua_State *L = policy->generation->L;
    const char *code = lua_guard_code(policy->overran, "policy_error");
    struct log_line line = log_begin(LOG_ERROR, "policy_error");

    log_str(&line, "id", policy->request->id);
    log_str(&line, "code", code);
    log_text(&line, "model", policy->request->model);
    log_int(&line, "generation", policy->generation->number);
    log_str(&line, "error", message);
    log_end(&line);
    push_err(policy, L, code, sentences[policy->overran]);
    finish_with_failure(policy, L);
    lua_settop(L, 0);
}

/* Whether the first result is what req:reply gave: lua/weir/reply.lua marks it. */
static bool is_reply(lua_State *co)
{
    if (!lua_istable(co, 1) || !lua_getmetatable(co, 1))
        return false;
    lua_pushliteral(co, "is_reply");
    lua_rawget(co, -2); /* raw: what a policy returns may have metamethods of its own */
    bool is = lua_toboolean(co, -1);
    lua_pop(co, 2);
    return is;
}

/* The coroutine returned; its results are its whole stack. */
static void finish(struct policy *policy)
{
    lua_State *co = policy->co, *L = policy->generation->L;
    struct lua_response *response = lua_response_test(co, 1);

    if (response && response->policy == policy && response->attempt) {
        struct policy_result result = {.kind = POLICY_RESPONSE, .attempt = response->attempt};
        policy->committed = response;
        lua_give_coroutine(policy, true);
        policy->host->on_finish(policy->host_arg, &result);
        return;
    }
    if (response) {
        bool is_own = response->policy == policy;
        lua_give_coroutine(policy, true);
        finish_with_error(policy, is_own
                                      ? "the policy returned a response that a later send replaced"
                                      : "the policy returned the response of another request");
        return;
    }
    if (is_reply(co)) {
        lua_settop(co, 1);
        lua_xmove(co, L, 1);
        lua_give_coroutine(policy, true);
        finish_with_table(policy, L, NULL);
        lua_settop(L, 0);
        return;
    }
    if (!lua_isnoneornil(co, 1)) {
        struct buf message = {0};
        buf_add_format(&message, "a policy returns a response, or nil and an error, not a %s",
                       luaL_typename(co, 1));
        buf_add_char(&message, '\0');
        lua_give_coroutine(policy, true);
        finish_with_error(policy, message.ptr);
        buf_free(&message);
        return;
    }
    if (lua_istable(co, 2)) {
        lua_settop(co, 2);
        lua_xmove(co, L, 1);
    } else if (lua_isstring(co, 2)) {
        push_err(policy, L, "policy_error", lua_tostring(co, 2));
    } else {
        push_err(policy, L, "exhausted", "no target is available");
    }
    lua_give_coroutine(policy, true);
    finish_with_failure(policy, L);
    lua_settop(L, 0);
}

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
    finish_with_error(policy, text.ptr);
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
        finish(policy);
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
    return policy->overran ? sentences[policy->overran]
                           : "the gateway's filter failed; its log has the reason under this "
                             "request's id";
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
