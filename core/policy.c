/* policy.c -- generations, and the coroutines that run in them.
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
#include "embed.h"
#include "head.h"
#include "limits.h"
#include "log.h"
#include "loop.h"
#include "lua_core.h"
#include "lua_string.h"
#include "mem.h"
#include "sources.h"
#include <assert.h>
#include <luajit.h>
#include <math.h>
#include <stdlib.h>

enum {
    LOAD_BURST_US = 3 * 1000 * 1000, /* of CPU, for loading, which holds nobody up */
    LOAD_MEMORY = 256 * 1024 * 1024, /* bytes, until weir.lua has said how many it wants */
};

/* ---- calls into Lua ---- */

static int add_traceback(lua_State *L)
{
    const char *message = lua_tostring(L, 1);
    luaL_traceback(L, L, message ? message : "(an error that is no text)", 1);
    return 1;
}

int lua_call_traced(lua_State *L, int args, int results)
{
    int function = lua_gettop(L) - args;

    lua_pushcfunction(L, add_traceback);
    lua_insert(L, function);
    struct generation *generation = lua_generation(L);
    lua_guard_enter(&generation->guard);
    int status = lua_pcall(L, args, results, function);
    generation->cause = lua_guard_leave(&generation->guard);
    lua_remove(L, function);
    return status;
}

int lua_resume_policy(struct policy *policy, int args)
{
    struct generation *generation = policy->generation;

    generation->running = policy;
    generation->guard.id = policy->request->id;
    lua_guard_enter(&generation->guard);
    int status = lua_resume(policy->co, args);
    generation->cause = lua_guard_leave(&generation->guard);
    generation->running = NULL;
    if (generation->guard.is_left) { /* it has yielded, but to nobody */
        generation->guard.is_left = false;
        lua_pushstring(policy->co, generation->guard.last);
        status = LUA_ERRRUN;
    }
    if (status > LUA_YIELD)
        policy->overran = generation->cause;
    return status;
}

void lua_push_runtime(lua_State *L, const char *name)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, lua_generation(L)->runtime_ref);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

struct generation *lua_generation(lua_State *L)
{
    void *generation;
    lua_getallocf(L, &generation);
    return generation;
}

static void *allocate(void *generation, void *ptr, size_t old_size, size_t size)
{
    return lua_guard_allocate(&((struct generation *)generation)->guard, ptr, old_size, size);
}

/* ---- generations ---- */

/* require() of Weir's own modules: from the binary, each once.  Upvalue 1: what is loaded. */
static int require_own(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);

    lua_getfield(L, lua_upvalueindex(1), name);
    if (!lua_isnil(L, -1))
        return 1;
    for (size_t i = 0; i < embed_count; i++) {
        if (strcmp(embed_files[i].module, name) != 0)
            continue;
        struct buf chunk = {0};
        buf_add_format(&chunk, "@%s", embed_files[i].path);
        buf_add_char(&chunk, '\0');
        int bad = luaL_loadbufferx(L, embed_files[i].text, embed_files[i].len, chunk.ptr, "t");
        buf_free(&chunk);
        if (bad)
            return lua_error(L);
        lua_pushvalue(L, 1);
        lua_call(L, 1, 1);
        lua_pushvalue(L, -1);
        lua_setfield(L, lua_upvalueindex(1), name);
        return 1;
    }
    return luaL_error(L, "Weir has no module '%s'", name);
}

static int open_state(lua_State *L)
{
    static const lua_CFunction libraries[] = {luaopen_base, luaopen_string, luaopen_table,
                                              luaopen_math, luaopen_bit};

    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        lua_pushcfunction(L, libraries[i]);
        lua_call(L, 0, 0);
    }
    lua_string_open(L);
    lua_json_open(L);
    lua_request_open(L);
    lua_response_open(L);
    lua_event_open(L);
    lua_shared_open(L);

    lua_newtable(L); /* [loaded] */
    lua_weir_push_host(L);
    lua_setfield(L, -2, "weir.host");
    lua_pushcclosure(L, require_own, 1); /* [require] */
    lua_pushvalue(L, -1);
    lua_setglobal(L, "require");
    lua_pushliteral(L, "weir.runtime");
    lua_call(L, 1, 1); /* [runtime] */
    lua_generation(L)->runtime_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

static void add_problem(struct buf *problems, lua_State *L)
{
    buf_add_text(problems, lua_tostring(L, -1) ? lua_tostring(L, -1) : "an error that is no text");
    buf_add_char(problems, '\n');
}

/* The problems that runtime.load gave back, on top of the stack. */
static void add_problems(struct buf *problems, lua_State *L)
{
    size_t count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;

    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, (int)i);
        add_problem(problems, L);
        lua_pop(L, 1);
    }
}

/* (settings), in a protected call: what a provider's file made may have metamethods. */
static int read_settings(lua_State *L)
{
    config_read(&lua_generation(L)->config, L);
    lua_setfield(L, LUA_REGISTRYINDEX, "weir.settings");
    return 0;
}

/* What checked the configuration is needed no more: a fifth of a generation. */
static void forget_loading(lua_State *L)
{
    static const char *const modules[] = {"weir.check", "weir.config", "weir.config_provider",
                                          "weir.url"};

    lua_getglobal(L, "require");
    lua_getupvalue(L, -1, 1); /* [require, loaded] */
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        lua_pushnil(L);
        lua_setfield(L, -2, modules[i]);
    }
    lua_pop(L, 2);
}

/* From the budget of loading to that of running. */
static bool has_room(struct generation *generation, struct buf *problems)
{
    struct lua_guard *guard = &generation->guard;
    size_t memory = generation->config.memory;

    forget_loading(generation->L);
    lua_gc(generation->L, LUA_GCCOLLECT, 0);
    guard->burst_us = generation->config.burst_us;
    guard->soft = memory;
    guard->hard = memory + LUA_GUARD_HARD;
    guard->has_last_resort = true;
    if (guard->used < memory / 2)
        return true;
    buf_add_format(problems, "policy.memory: what is loaded takes %zu KiB, more than half of it\n",
                   guard->used / 1024);
    return false;
}

static bool open_runtime(struct generation *generation, struct buf *problems)
{
    lua_State *L = generation->L;

    lua_pushcfunction(L, open_state);
    if (lua_call_traced(L, 0, 0) == 0)
        return true;
    add_problem(problems, L);
    return false;
}

static bool load(struct generation *generation, const char *path, struct buf *problems)
{
    lua_State *L = generation->L;

    if (!open_runtime(generation, problems))
        return false;
    lua_push_runtime(L, "load");
    lua_pushstring(L, path);
    if (lua_call_traced(L, 1, 2)) {
        add_problem(problems, L);
        return false;
    }
    if (!lua_istable(L, -2)) {
        add_problems(problems, L);
        return false;
    }
    lua_pop(L, 1); /* [settings] */
    lua_pushcfunction(L, read_settings);
    lua_insert(L, -2);
    if (lua_call_traced(L, 1, 0)) {
        add_problem(problems, L);
        return false;
    }
    return has_room(generation, problems);
}

static struct generation *generation_alloc(unsigned number, struct limits *limits)
{
    struct generation *generation = mem_new(sizeof *generation);
    lua_State *L = lua_newstate(allocate, generation);

    if (!L)
        abort();
    /* Compiled traces ignore hooks, so a runaway policy could not be stopped. */
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    generation->guard = (struct lua_guard){.L = L,
                                           .burst_us = LOAD_BURST_US,
                                           .used = generation->guard.used,
                                           .soft = LOAD_MEMORY,
                                           .hard = LOAD_MEMORY + LUA_GUARD_HARD};
    lua_guard_start();
    generation->L = L;
    generation->number = number;
    generation->limits = limits;
    generation->users = 1;
    generation->config.fallback_ref = LUA_NOREF;
    return generation;
}

struct generation *generation_new(struct limits *limits)
{
    struct generation *generation = generation_alloc(1, limits);
    struct buf problems = {0};

    if (!open_runtime(generation, &problems))
        abort(); /* Weir's own files */
    generation->sources = generation->own_sources = sources_new();
    generation->guard.burst_us = INT64_MAX; /* whole suites run in it */
    generation->guard.soft = 0;
    return generation;
}

void generation_configure(struct generation *generation)
{
    config_fini(&generation->config, generation->L);
    generation->config = (struct config){0};
    config_read(&generation->config, generation->L);
}

void generation_set_fallback(struct generation *generation, int policy_ref)
{
    luaL_unref(generation->L, LUA_REGISTRYINDEX, generation->config.fallback_ref);
    generation->config.fallback_ref = policy_ref;
}

struct generation *generation_load(const char *path, unsigned number, struct limits *limits,
                                   struct sources *sources, struct buf *problems)
{
    struct generation *generation = generation_alloc(number, limits);
    lua_State *L = generation->L;

    generation->sources = sources;
    bool bad = !load(generation, path, problems);
    generation->sources = NULL;
    lua_settop(L, 0);
    if (!bad)
        return generation;
    generation_free(generation);
    return NULL;
}

struct generation *generation_share(struct generation *generation)
{
    generation->users++;
    return generation;
}

void generation_on_free(struct generation *generation,
                        void (*on_free)(void *arg, struct generation *generation), void *arg)
{
    generation->on_free = on_free;
    generation->on_free_arg = arg;
}

void generation_free(struct generation *generation)
{
    if (!generation || --generation->users)
        return;
    if (generation->on_free)
        generation->on_free(generation->on_free_arg, generation);
    config_fini(&generation->config, generation->L);
    lua_close(generation->L);
    sources_free(generation->own_sources);
    mem_free(generation);
}

bool generation_is_spent(const struct generation *generation)
{
    return generation->guard.is_spent;
}

const struct config *generation_config(const struct generation *generation)
{
    return &generation->config;
}

unsigned generation_number(const struct generation *generation)
{
    return generation->number;
}

void generation_describe(struct generation *generation, struct buf *out)
{
    lua_State *L = generation->L;

    lua_push_runtime(L, "describe");
    lua_getfield(L, LUA_REGISTRYINDEX, "weir.settings");
    lua_call_traced(L, 1, 1); /* an error's text is printed as well */
    buf_add_text(out, lua_tostring(L, -1));
    lua_settop(L, 0);
}

static void add_model(const struct model *model, struct buf *out)
{
    buf_add_text(out, "{\"id\":");
    json_quote(out, slice_of(model->name));
    buf_add_text(out, ",\"object\":\"model\",\"created\":0,\"owned_by\":\"weir\"}");
}

void generation_models(const struct generation *generation, struct buf *out)
{
    const struct config *config = &generation->config;

    buf_add_text(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < config->model_count; i++) {
        if (i)
            buf_add_char(out, ',');
        add_model(&config->models[i], out);
    }
    buf_add_text(out, "]}");
}

bool generation_model(const struct generation *generation, struct slice name, struct buf *out)
{
    const struct config *config = &generation->config;

    for (size_t i = 0; i < config->model_count; i++) {
        if (slice_is(name, config->models[i].name)) {
            add_model(&config->models[i], out);
            return true;
        }
    }
    return false;
}

/* ---- coroutines ---- */

void lua_take_coroutine(struct policy *policy)
{
    struct generation *generation = policy->generation;

    if (generation->idle_count) {
        generation->idle_count--;
        policy->co = generation->idle[generation->idle_count].co;
        policy->co_ref = generation->idle[generation->idle_count].ref;
        return;
    }
    policy->co = lua_newthread(generation->L);
    policy->co_ref = luaL_ref(generation->L, LUA_REGISTRYINDEX);
}

/* A coroutine that ran to its end can run again; one that raised or waits cannot. */
void lua_give_coroutine(struct policy *policy, bool reusable)
{
    struct generation *generation = policy->generation;
    size_t room = sizeof generation->idle / sizeof *generation->idle;

    if (!policy->co)
        return;
    if (reusable && generation->idle_count < room) {
        lua_settop(policy->co, 0);
        generation->idle[generation->idle_count].co = policy->co;
        generation->idle[generation->idle_count++].ref = policy->co_ref;
    } else {
        luaL_unref(generation->L, LUA_REGISTRYINDEX, policy->co_ref);
    }
    policy->co = NULL;
}

/* ---- how a policy ends ---- */

static void finish_with_error(struct policy *policy, const char *message);
static void resume(struct policy *policy, int args);

void lua_push_trail(lua_State *L, struct policy *policy)
{
    const struct policy_trail_entry *entries;
    size_t count = policy->host->trail(policy->host_arg, &entries);

    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        lua_createtable(L, 0, 5);
        if (entries[i].key) {
            lua_pushinteger(L, entries[i].key);
            lua_setfield(L, -2, "key");
        }
        lua_pushlstring(L, entries[i].target.ptr, entries[i].target.len);
        lua_setfield(L, -2, "target");
        lua_pushstring(L, entries[i].code);
        lua_setfield(L, -2, "code");
        if (entries[i].status) {
            lua_pushinteger(L, entries[i].status);
            lua_setfield(L, -2, "status");
        }
        lua_pushinteger(L, (lua_Integer)entries[i].ms);
        lua_setfield(L, -2, "ms");
        if (entries[i].retry_after >= 0) {
            lua_pushnumber(L, entries[i].retry_after);
            lua_setfield(L, -2, "retry_after");
        }
        lua_rawseti(L, -2, (int)i + 1);
    }
}

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

static void push_code(lua_State *L, const char *code, const char *message)
{
    lua_createtable(L, 0, 4);
    lua_pushstring(L, code);
    lua_setfield(L, -2, "code");
    lua_pushstring(L, message);
    lua_setfield(L, -2, "message");
}

/* Pushes { code =, message = } and more where all targets cool. */
static void push_err(struct policy *policy, lua_State *L, const char *code, const char *message)
{
    push_code(L, code, message);
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

static int policy_ref_of(const struct generation *generation, struct slice model)
{
    const struct config *config = &generation->config;

    for (size_t i = 0; i < config->model_count; i++)
        if (slice_is(model, config->models[i].name))
            return config->models[i].policy_ref;
    return config->fallback_ref;
}

bool generation_serves(const struct generation *generation, struct slice model)
{
    return policy_ref_of(generation, model) != LUA_NOREF;
}

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
                policy_ref_of(policy->generation, policy->request->model));
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

static double number_in(lua_State *L, const char *name, double otherwise)
{
    lua_getfield(L, -1, name);
    double number = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : otherwise;
    lua_pop(L, 1);
    return number;
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
        push_code(L, "bad_response", "the failure could not be judged");
    }
    text_in(L, "code", outcome.code, sizeof outcome.code);
    text_in(L, "message", outcome.message, sizeof outcome.message);
    text_in(L, "scope", scope, sizeof scope);
    outcome.status = (int)number_in(L, "status", 0);
    outcome.retry_after = number_in(L, "retry_after", -1);
    outcome.cooldown = number_in(L, "cooldown", 0);
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
    double reset = number_in(L, "reset", -1);
    *word = (struct quota_word){
        .dimension = quota_named(slice_of(dimension)),
        .is_of_key = strcmp(scope, "key") == 0,
        .limit = (int64_t)number_in(L, "limit", -1),
        .left = (int64_t)number_in(L, "remaining", -1),
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
