/* lua_reply.c -- what a policy returned: a response that is to be committed, a reply of its own, or
 * a failure in words for the client. */
/* SPDX-License-Identifier: MIT */
#include "leaves/log.h"
#include "leaves/loop.h"
#include "lua_core.h"
#include "parsers/head.h"

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
        lua_reply_fail(policy, lua_tostring(L, -1));
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

void lua_reply_fail(struct policy *policy, const char *message)
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
    push_err(policy, L, code,
             lua_guard_sentence(policy->overran,
                                "the gateway's policy failed; its log has the reason under this "
                                "request's id"));
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
void lua_reply_finish(struct policy *policy)
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
        lua_reply_fail(policy, is_own ? "the policy returned a response that a later send replaced"
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
        lua_reply_fail(policy, message.ptr);
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
