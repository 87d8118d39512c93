/* lua_response.c -- res: an attempt that came to its commit point.
 *
 * Returning it from the policy commits it; sending again drops it. */
/* SPDX-License-Identifier: MIT */
#include "leaves/mem.h"
#include "lua_core.h"

static const char RESPONSE[] = "weir.Response";

struct lua_response *lua_response_test(lua_State *L, int index)
{
    struct lua_response **slot = luaL_testudata(L, index, RESPONSE);
    return slot ? *slot : NULL;
}

static struct lua_response *check_response(lua_State *L)
{
    struct lua_response **slot = luaL_checkudata(L, 1, RESPONSE);
    luaL_argcheck(L, *slot && (*slot)->policy, 1, "this request is over");
    return *slot;
}

/* Appends the function at index 2 to the list behind *ref. */
static void add_function(lua_State *L, int *ref)
{
    luaL_checktype(L, 2, LUA_TFUNCTION);
    if (*ref == LUA_NOREF) {
        lua_newtable(L);
        *ref = luaL_ref(L, LUA_REGISTRYINDEX);
    }
    lua_rawgeti(L, LUA_REGISTRYINDEX, *ref);
    lua_pushvalue(L, 2);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
    lua_settop(L, 1);
}

/* res:map(filter) -> res */
static int response_map(lua_State *L)
{
    add_function(L, &check_response(L)->filters_ref);
    return 1;
}

/* res:on_end(fn) -> res */
static int response_on_end(lua_State *L)
{
    add_function(L, &check_response(L)->ends_ref);
    return 1;
}

/* res:on_break(fn) -> res */
static int response_on_break(lua_State *L)
{
    add_function(L, &check_response(L)->breaks_ref);
    return 1;
}

static void visit_header(void *arg, struct slice name, struct slice value)
{
    lua_State *L = arg;

    lua_pushlstring(L, name.ptr, name.len);
    lua_pushlstring(L, value.ptr, value.len);
    lua_rawset(L, -3);
}

static int response_index(lua_State *L)
{
    struct lua_response *response = check_response(L);
    const char *name = luaL_checkstring(L, 2);

    lua_getfield(L, lua_upvalueindex(1), name);
    if (!lua_isnil(L, -1))
        return 1;
    if (strcmp(name, "status") == 0) {
        lua_pushinteger(L, response->status);
    } else if (strcmp(name, "target") == 0) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, response->target_ref);
    } else if (strcmp(name, "stream") == 0) {
        lua_pushboolean(L, response->stream);
    } else if (strcmp(name, "headers") == 0) {
        struct policy *policy = response->policy;
        lua_newtable(L);
        if (response->attempt)
            policy->host->headers(policy->host_arg, response->attempt, visit_header, L);
    }
    return 1;
}

static int response_newindex(lua_State *L)
{
    return luaL_error(L, "res.%s cannot be set", lua_tostring(L, 2) ? lua_tostring(L, 2) : "?");
}

void lua_response_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"map", response_map},
        {"on_break", response_on_break},
        {"on_end", response_on_end},
        {NULL, NULL},
    };

    luaL_newmetatable(L, RESPONSE); /* [mt] */
    lua_newtable(L);                /* [mt, methods] */
    luaL_setfuncs(L, methods, 0);
    lua_pushcclosure(L, response_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, response_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

void lua_response_push(lua_State *L, struct policy *policy, const struct policy_answer *answer)
{
    struct lua_response *response = mem_new(sizeof *response);
    struct lua_response **slot = lua_newuserdata(L, sizeof *slot); /* [res] */

    *slot = response;
    response->policy = policy;
    response->attempt = answer->attempt;
    response->status = answer->status;
    response->stream = answer->stream;
    response->filters_ref = response->ends_ref = response->breaks_ref = LUA_NOREF;
    response->next = policy->responses;
    policy->responses = response;
    lua_pushlstring(L, answer->target.ptr, answer->target.len);
    response->target_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    luaL_getmetatable(L, RESPONSE);
    lua_setmetatable(L, -2);
    lua_pushvalue(L, -1);
    response->self_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void swap(int *one, int *other)
{
    int kept = *one;

    *one = *other;
    *other = kept;
}

/* Appends the functions behind *from to those behind *to. */
static void add_functions(lua_State *L, int *to, int *from)
{
    if (*to == LUA_NOREF)
        swap(to, from);
    if (*from == LUA_NOREF)
        return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, *to);
    lua_rawgeti(L, LUA_REGISTRYINDEX, *from); /* [to, from] */
    int before = (int)lua_objlen(L, -2), count = (int)lua_objlen(L, -1);
    for (int i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, i);
        lua_rawseti(L, -3, before + i);
    }
    lua_pop(L, 2);
}

void lua_response_adopt(lua_State *L, struct lua_response *first, struct lua_response *next)
{
    first->attempt = next->attempt;
    next->attempt = NULL;
    swap(&first->target_ref, &next->target_ref);
    add_functions(L, &next->filters_ref, &first->filters_ref);
    swap(&first->filters_ref, &next->filters_ref);
    add_functions(L, &first->ends_ref, &next->ends_ref);
    add_functions(L, &first->breaks_ref, &next->breaks_ref);
}

void lua_response_close(lua_State *L, struct lua_response *response)
{
    response->policy->responses = response->next;
    lua_rawgeti(L, LUA_REGISTRYINDEX, response->self_ref);
    *(struct lua_response **)lua_touserdata(L, -1) = NULL;
    lua_pop(L, 1);
    luaL_unref(L, LUA_REGISTRYINDEX, response->self_ref);
    luaL_unref(L, LUA_REGISTRYINDEX, response->target_ref);
    luaL_unref(L, LUA_REGISTRYINDEX, response->filters_ref);
    luaL_unref(L, LUA_REGISTRYINDEX, response->ends_ref);
    luaL_unref(L, LUA_REGISTRYINDEX, response->breaks_ref);
    mem_free(response);
}
