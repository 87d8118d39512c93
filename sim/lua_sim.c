/* lua_sim.c -- what lua/weir/sim.lua reaches of the simulator: require("weir.sim_host").
 *
 * A spec and the policies that it tests share one Lua state, and a policy runs while the spec
 * waits inside play().  Functions here that let exchanges run clear their own stack first: to
 * the core it is then as empty as the loop finds it. */
/* SPDX-License-Identifier: MIT */
#include "lua_sim.h"
#include "sim.h" /* before what it renames */

#include "exchange/attempt.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "metrics/metrics.h"
#include "policy/lua_core.h"
#include "policy/ration.h"
#include "sim_loop.h"

struct lua_sim {
    struct limits *limits;
    struct generation *generation;
    struct sim *sim;
    int ask_ref;        /* the function that says what a provider answers */
    struct buf trouble; /* its first error while requests were played */
};

static struct lua_sim *own(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* ---- what a provider is asked, and answers ---- */

static void set_slice(lua_State *L, const char *name, struct slice value)
{
    lua_pushlstring(L, value.ptr ? value.ptr : "", value.len);
    lua_setfield(L, -2, name);
}

static void set_number(lua_State *L, const char *name, double number)
{
    lua_pushnumber(L, number);
    lua_setfield(L, -2, name);
}

static void push_timeouts(lua_State *L, const struct timeouts *timeouts)
{
    lua_createtable(L, 0, 4);
    set_number(L, "connect", (double)timeouts->connect_ms / 1000);
    set_number(L, "first", (double)timeouts->first_ms / 1000);
    set_number(L, "idle", (double)timeouts->idle_ms / 1000);
    set_number(L, "total", (double)timeouts->total_ms / 1000);
}

/* weir.fetch asks a server that is no provider. */
static void push_fetch(lua_State *L, const struct transfer *transfer)
{
    set_slice(L, "base", slice_of(sim_transfer_base(transfer)));
    set_slice(L, "method", slice_of(sim_transfer_method(transfer)));
}

static void push_call(lua_State *L, const struct transfer *transfer)
{
    lua_createtable(L, 0, 6);
    set_slice(L, "path", slice_of(sim_transfer_path(transfer)));
    set_slice(L, "text", sim_transfer_body(transfer));
    set_slice(L, "header_lines", sim_transfer_headers(transfer));
    if (!sim_transfer_provider(transfer)) {
        push_fetch(L, transfer);
        return;
    }
    set_slice(L, "provider", slice_of(sim_transfer_provider(transfer)->name));
    set_slice(L, "target", attempt_target(sim_transfer_owner(transfer)));
    push_timeouts(L, attempt_timeouts(sim_transfer_owner(transfer)));
    lua_setfield(L, -2, "timeout");
}

static double number_at(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    double number = lua_tonumber(L, -1);
    lua_pop(L, 1);
    return number;
}

static enum err fault_at(lua_State *L, const char *name)
{
    enum err found = ERR_OK;

    lua_getfield(L, -1, name);
    for (int i = 0; i < ERR_COUNT && lua_isstring(L, -1); i++)
        if (strcmp(err_name((enum err)i), lua_tostring(L, -1)) == 0)
            found = (enum err)i;
    lua_pop(L, 1);
    return found;
}

/* A step is on top: { kind = 0, after = 0.5, status = 200, bytes = "…", fault = "reset" }. */
static struct sim_step read_step(lua_State *L)
{
    struct sim_step step = {
        .kind = (enum sim_step_kind)number_at(L, "kind"),
        .after_us = (int64_t)(number_at(L, "after") * 1e6),
        .status = (int)number_at(L, "status"),
        .err = fault_at(L, "fault"),
    };
    size_t len = 0;

    lua_getfield(L, -1, "is_connected");
    step.is_connected = lua_toboolean(L, -1);
    lua_getfield(L, -2, "bytes");
    const char *bytes = lua_tolstring(L, -1, &len);
    if (bytes)
        buf_add(&step.bytes, (struct slice){bytes, len});
    lua_pop(L, 2);
    return step;
}

static void on_ask(void *arg, struct transfer *transfer)
{
    struct lua_sim *lua_sim = arg;
    lua_State *L = lua_sim->generation->L;

    lua_rawgeti(L, LUA_REGISTRYINDEX, lua_sim->ask_ref);
    push_call(L, transfer);
    if (lua_call_traced(L, 1, 1)) {
        if (!lua_sim->trouble.len)
            buf_add_text(&lua_sim->trouble, lua_tostring(L, -1));
        lua_settop(L, 0);
        return; /* it stays silent */
    }
    size_t count = lua_objlen(L, -1);
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, (int)i);
        struct sim_step step = read_step(L);
        sim_transfer_add(transfer, &step);
        lua_pop(L, 1);
    }
    lua_settop(L, 0);
}

/* ---- requests ---- */

/* The request's table is on top: { body, endpoint, at, leaves, key, headers = { { n, v } } }.
 * Strings are borrowed from it. */
static void read_request(lua_State *L, struct sim_request *request, struct buf *body,
                         struct sim_header *headers)
{
    size_t len;

    lua_getfield(L, -1, "body");
    const char *text = lua_tolstring(L, -1, &len);
    buf_add(body, (struct slice){text, len});
    lua_getfield(L, -2, "key");
    request->key_name = lua_tostring(L, -1);
    lua_pop(L, 2);
    request->endpoint = (enum endpoint)number_at(L, "endpoint");
    request->at_us = (int64_t)(number_at(L, "at") * 1e6);
    request->client.body = body;
    request->client.headers = headers;
    double leaves = number_at(L, "leaves");
    request->client.leaves_us = leaves > 0 ? (int64_t)(leaves * 1e6) : -1;
    lua_getfield(L, -1, "headers");
    for (size_t i = 0; i < request->client.header_count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        lua_rawgeti(L, -1, 1);
        lua_rawgeti(L, -2, 2);
        headers[i].name = (char *)lua_tostring(L, -2);
        headers[i].value = (char *)lua_tostring(L, -1);
        lua_pop(L, 3);
    }
    lua_pop(L, 1);
}

static size_t header_count(lua_State *L)
{
    lua_getfield(L, -1, "headers");
    size_t count = lua_objlen(L, -1);
    lua_pop(L, 1);
    return count;
}

static void push_seen(lua_State *L, const struct sim_request *request)
{
    static const char *const endings[] = {"none", "none", "complete", "cut", "left"};

    lua_createtable(L, 0, 6);
    if (!request->made)
        return;
    struct sim_client_seen seen = sim_client_seen(request->made);
    set_number(L, "status", seen.status);
    set_slice(L, "id", slice_of(client_id(request->made)));
    set_slice(L, "header_lines", seen.headers);
    set_slice(L, "body", seen.body);
    set_slice(L, "ended", slice_of(endings[seen.state]));
    if (seen.first_us >= 0)
        set_number(L, "first", (double)seen.first_us / 1e6);
    if (seen.last_us >= 0)
        set_number(L, "seconds", (double)seen.last_us / 1e6);
}

/* A policy has the budget that it would have in the gateway; the spec around it has none. */
static bool play(struct lua_sim *lua_sim, struct sim_request *requests, size_t count)
{
    struct generation *generation = lua_sim->generation;
    struct lua_guard *guard = &generation->guard;
    struct policy *running = generation->running;
    int64_t burst_us = guard->burst_us;
    uint32_t depth = lua_guard_suspend();

    guard->burst_us = generation->config.burst_us;
    guard->soft = guard->used + generation->config.memory;
    guard->hard = guard->soft + LUA_GUARD_HARD;
    bool over = sim_play(lua_sim->sim, requests, count);
    guard->burst_us = burst_us;
    guard->soft = guard->hard = 0;
    lua_guard_resume(guard, depth);
    generation->running = running;
    return over;
}

/* play(requests, policy or nil) -> list of what each client saw, the log's lines, and the error
 * of a script or nil.  The policy stands in for every model. */
static int sim_host_play(lua_State *L)
{
    struct lua_sim *lua_sim = own(L);
    size_t count = lua_objlen(L, 1);
    struct sim_request *requests = mem_new(count * sizeof *requests);
    struct buf *bodies = mem_new(count * sizeof *bodies);
    struct sim_header **headers = mem_new(count * sizeof(struct sim_header *));

    lua_settop(L, 2);
    if (lua_isfunction(L, 2))
        generation_set_fallback(lua_sim->generation, luaL_ref(L, LUA_REGISTRYINDEX));
    lua_settop(L, 1);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        requests[i].client.header_count = header_count(L);
        headers[i] = mem_new(requests[i].client.header_count * sizeof(struct sim_header));
        read_request(L, &requests[i], &bodies[i], headers[i]);
        lua_pop(L, 1);
    }
    int requests_ref = luaL_ref(L, LUA_REGISTRYINDEX); /* its strings are borrowed; [] */
    bool over = play(lua_sim, requests, count);
    luaL_unref(L, LUA_REGISTRYINDEX, requests_ref);

    lua_createtable(L, (int)count, 0);
    for (size_t i = 0; i < count; i++) {
        push_seen(L, &requests[i]);
        lua_rawseti(L, -2, (int)i + 1);
        buf_free(&bodies[i]);
        mem_free(headers[i]);
    }
    sim_forget(requests, count);
    mem_free(requests);
    mem_free(bodies);
    mem_free(headers);
    struct buf *log = sim_log(lua_sim->sim);
    lua_pushlstring(L, log->ptr ? log->ptr : "", log->len);
    buf_clear(log);
    if (lua_sim->trouble.len)
        lua_pushlstring(L, lua_sim->trouble.ptr, lua_sim->trouble.len);
    else if (!over)
        lua_pushliteral(L, "the simulation does not end by itself: something waits or goes on for "
                           "ever");
    else
        lua_pushnil(L);
    buf_clear(&lua_sim->trouble);
    return 3;
}

/* ---- the world ---- */

/* configure(settings): as config.check gave them */
static int sim_host_configure(lua_State *L)
{
    struct lua_sim *lua_sim = own(L);

    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    generation_configure(lua_sim->generation);
    sim_configure(lua_sim->sim);
    return 0;
}

static int sim_host_advance(lua_State *L)
{
    double seconds = luaL_checknumber(L, 1);

    lua_settop(L, 0);
    sim_loop_advance((int64_t)(seconds * 1e6));
    return 0;
}

/* cool(key, seconds, reason) */
static int sim_host_cool(lua_State *L)
{
    size_t len;
    const char *key = luaL_checklstring(L, 1, &len);
    int64_t until_us = loop_now_us() + (int64_t)(luaL_checknumber(L, 2) * 1e6);

    const char *slash = memchr(key, '/', len);
    struct slice provider = {key, slash ? (size_t)(slash - key) : len};
    struct slice model = {slash ? slash + 1 : NULL, slash ? len - provider.len - 1 : 0};
    struct limits_target target = ration_target(
        config_provider(generation_config(own(L)->generation), provider), provider, model);

    limits_cool(own(L)->limits, &target, until_us, luaL_checkstring(L, 3), loop_now_us());
    return 0;
}

/* metrics() -> what GET /metrics would say of the policies' counters */
static int sim_host_metrics(lua_State *L)
{
    struct buf text = {0};

    metrics_write(limits_metrics(own(L)->limits), &text);
    lua_pushlstring(L, text.ptr, text.len);
    buf_free(&text);
    return 1;
}

static int sim_host_reset(lua_State *L)
{
    struct lua_sim *lua_sim = own(L);

    limits_free(lua_sim->limits);
    lua_sim->limits = lua_sim->generation->limits = limits_new();
    sim_reset(lua_sim->sim, lua_sim->limits);
    lua_sim->generation->voice = (struct lua_voice){0};
    buf_clear(sim_log(lua_sim->sim));
    return 0;
}

/* ---- the state ---- */

/* The module is on top: enters it among those that Weir's own require finds. */
static void provide(lua_State *L, const char *name)
{
    lua_getglobal(L, "require");
    lua_getupvalue(L, -1, 1); /* [module, require, loaded] */
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, name);
    lua_pop(L, 3);
}

/* Specs are the operator's own programs: they get all of Lua.  A policy's environment is still
 * sandbox.lua's. */
static int open_kit(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"advance", sim_host_advance},
        {"configure", sim_host_configure},
        {"cool", sim_host_cool},
        {"metrics", sim_host_metrics},
        {"play", sim_host_play},
        {"reset", sim_host_reset},
        {NULL, NULL},
    };
    static const lua_CFunction libraries[] = {luaopen_io, luaopen_os, luaopen_debug};
    struct lua_sim *lua_sim = lua_touserdata(L, 1);

    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        lua_pushcfunction(L, libraries[i]);
        lua_call(L, 0, 0);
    }
    lua_newtable(L);
    lua_pushlightuserdata(L, lua_sim);
    luaL_setfuncs(L, functions, 1);
    provide(L, "weir.sim_host");
    lua_getglobal(L, "require");
    lua_pushliteral(L, "weir.sim_script");
    lua_call(L, 1, 1);
    lua_getfield(L, -1, "on_ask");
    lua_sim->ask_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

struct lua_sim *lua_sim_new(void)
{
    struct lua_sim *lua_sim = mem_new(sizeof *lua_sim);
    lua_State *L;

    lua_sim->limits = limits_new();
    lua_sim->generation = generation_new(lua_sim->limits);
    lua_sim->sim = sim_new(lua_sim->generation, on_ask, lua_sim);
    sim_reset(lua_sim->sim, lua_sim->limits);
    L = lua_sim->generation->L;
    lua_pushcfunction(L, open_kit);
    lua_pushlightuserdata(L, lua_sim);
    if (lua_call_traced(L, 1, 0))
        lua_error(L); /* a mistake of ours: LuaJIT's panic prints it */
    return lua_sim;
}

void lua_sim_free(struct lua_sim *lua_sim)
{
    if (!lua_sim)
        return;
    sim_free(lua_sim->sim);
    generation_free(lua_sim->generation);
    limits_free(lua_sim->limits);
    buf_free(&lua_sim->trouble);
    mem_free(lua_sim);
}

struct lua_sim *lua_sim_continue(const struct limits *limits)
{
    sim_loop_begin_at(loop_now_us());
    struct lua_sim *lua_sim = lua_sim_new();

    limits_free(lua_sim->limits);
    lua_sim->limits = lua_sim->generation->limits = limits_copy(limits);
    sim_reset(lua_sim->sim, lua_sim->limits);
    return lua_sim;
}

void lua_sim_read(struct lua_sim *lua_sim, struct sources *sources)
{
    lua_sim->generation->sources = sources;
}

int lua_sim_call(struct lua_sim *lua_sim, const char *module, const char *name,
                 const char *const *args, size_t count, struct buf *out)
{
    lua_State *L = lua_sim->generation->L;
    int result = -1;

    lua_getglobal(L, "require");
    lua_pushstring(L, module);
    if (lua_call_traced(L, 1, 1) == 0) {
        lua_getfield(L, -1, name);
        lua_remove(L, -2);
        for (size_t i = 0; i < count; i++)
            lua_pushstring(L, args[i]);
        if (lua_call_traced(L, (int)count, 2) == 0) {
            result = (int)lua_tointeger(L, -1);
            lua_pop(L, 1);
        }
    }
    buf_add_text(out, lua_tostring(L, -1) ? lua_tostring(L, -1) : "");
    lua_settop(L, 0);
    return result;
}
