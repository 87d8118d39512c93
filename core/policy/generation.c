/* generation.c -- one loaded version of weir.lua: its Lua state, and what it is made of. */
/* SPDX-License-Identifier: MIT */
#include "embed.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "lua_core.h"
#include "lua_string.h"
#include "sources.h"
#include <luajit.h>
#include <stdlib.h>

enum {
    LOAD_BURST_US = 3 * 1000 * 1000, /* of CPU, for loading, which holds nobody up */
    LOAD_MEMORY = 256 * 1024 * 1024, /* bytes, until weir.lua has said how many it wants */
};

/* ---- the Lua state ---- */

static void *allocate(void *generation, void *ptr, size_t old_size, size_t size)
{
    return lua_guard_allocate(&((struct generation *)generation)->guard, ptr, old_size, size);
}

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

static void add_said(struct generation *generation, const char *function, struct buf *out)
{
    lua_State *L = generation->L;

    lua_push_runtime(L, function);
    lua_getfield(L, LUA_REGISTRYINDEX, "weir.settings");
    lua_call_traced(L, 1, 1); /* an error's text is printed as well */
    buf_add_text(out, lua_tostring(L, -1));
    lua_settop(L, 0);
}

void generation_describe(struct generation *generation, struct buf *out)
{
    add_said(generation, "describe", out);
}

void generation_show(struct generation *generation, struct buf *out)
{
    add_said(generation, "show", out);
}

static void add_model(const struct model *model, struct buf *out)
{
    buf_add_text(out, "{\"id\":");
    json_quote(out, slice_of(model->name));
    buf_add_text(out, ",\"object\":\"model\",\"created\":0,\"owned_by\":\"weir\"}");
}

void generation_models(const struct generation *generation,
                       bool (*may)(void *arg, struct slice model), void *arg, struct buf *out)
{
    const struct config *config = &generation->config;
    bool is_first = true;

    buf_add_text(out, "{\"object\":\"list\",\"data\":[");
    for (size_t i = 0; i < config->model_count; i++) {
        if (!may(arg, slice_of(config->models[i].name)))
            continue;
        buf_add_text(out, is_first ? "" : ",");
        add_model(&config->models[i], out);
        is_first = false;
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

int generation_policy_ref(const struct generation *generation, struct slice model)
{
    const struct config *config = &generation->config;

    for (size_t i = 0; i < config->model_count; i++)
        if (slice_is(model, config->models[i].name))
            return config->models[i].policy_ref;
    return config->fallback_ref;
}

bool generation_serves(const struct generation *generation, struct slice model)
{
    return generation_policy_ref(generation, model) != LUA_NOREF;
}
