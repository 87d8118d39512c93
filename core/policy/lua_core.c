/* lua_core.c -- how the core enters Lua, on which coroutines, and what it puts on the stack often.
 */
/* SPDX-License-Identifier: MIT */
#include "lua_core.h"

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

/* ---- values ---- */

double lua_number_in(lua_State *L, int at, const char *name, double otherwise)
{
    lua_getfield(L, at, name);
    double number = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : otherwise;
    lua_pop(L, 1);
    return number;
}

void lua_set_text(lua_State *L, const char *name, const char *text)
{
    lua_pushstring(L, text);
    lua_setfield(L, -2, name);
}

void lua_push_code(lua_State *L, const char *code, const char *message)
{
    lua_createtable(L, 0, 4);
    lua_set_text(L, "code", code);
    lua_set_text(L, "message", message);
}

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
