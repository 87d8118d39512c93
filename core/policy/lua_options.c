/* lua_options.c -- the table that send, shadow and race take last. */
/* SPDX-License-Identifier: MIT */
#include "lua_core.h"

static void read_clock(lua_State *L, const char *name, int64_t *ms)
{
    lua_getfield(L, -1, name);
    if (!lua_isnil(L, -1)) {
        double seconds = lua_tonumber(L, -1);
        if (lua_type(L, -1) != LUA_TNUMBER || !(seconds >= 0 && seconds <= 1e6))
            luaL_error(L, "timeout.%s must be seconds", name);
        *ms = (int64_t)(seconds * 1000);
    }
    lua_pop(L, 1);
}

static void check_names(lua_State *L, int index, const char *const *names, const char *what)
{
    lua_pushnil(L);
    while (lua_next(L, index)) {
        const char *name = lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "?";
        size_t i = 0;
        while (names[i] && strcmp(names[i], name) != 0)
            i++;
        if (!names[i])
            luaL_error(L, "%s has no member '%s'", what, name);
        lua_pop(L, 1);
    }
}

static void read_timeout(lua_State *L, int index, struct timeouts *timeout)
{
    static const char *const clocks[] = {"connect", "first", "idle", "total", NULL};

    lua_getfield(L, index, "timeout");
    if (lua_istable(L, -1)) {
        check_names(L, lua_gettop(L), clocks, "timeout");
        read_clock(L, "connect", &timeout->connect_ms);
        read_clock(L, "first", &timeout->first_ms);
        read_clock(L, "idle", &timeout->idle_ms);
        read_clock(L, "total", &timeout->total_ms);
    } else if (!lua_isnil(L, -1)) {
        luaL_error(L, "timeout must be a table such as { first = 10 }");
    }
    lua_pop(L, 1);
}

static void read_commit(lua_State *L, int index, enum commit *commit)
{
    static const char *const words[] = {
        [COMMIT_FIRST] = "first", [COMMIT_CONTENT] = "content", [COMMIT_WHOLE] = "whole"};

    lua_getfield(L, index, "commit");
    const char *said = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
    bool known = lua_isnil(L, -1);
    for (size_t i = 0; i < sizeof words / sizeof *words && !known; i++) {
        known = strcmp(words[i], said) == 0;
        *commit = (enum commit)i;
    }
    if (!known)
        luaL_error(L, "commit must be \"first\", \"content\" or \"whole\"");
    lua_pop(L, 1);
}

void lua_options_read_attempt(lua_State *L, int index, struct policy_send *send)
{
    read_timeout(L, index, &send->timeout);
    read_commit(L, index, &send->commit);
}

void lua_options_read(lua_State *L, int index, struct policy_send *send, bool *insists)
{
    static const char *const options[] = {"commit", "cooling", "edit", "timeout", NULL};

    if (lua_isnoneornil(L, index)) {
        lua_pushnil(L);
        return;
    }
    luaL_checktype(L, index, LUA_TTABLE);
    check_names(L, index, options, "send's options");
    lua_options_read_attempt(L, index, send);
    lua_getfield(L, index, "cooling");
    *insists = lua_toboolean(L, -1);
    if (!lua_isnil(L, -1) && !lua_isboolean(L, -1))
        luaL_error(L, "cooling must be true or false: whether to send to a target that cools");
    lua_pop(L, 1);
    lua_getfield(L, index, "edit");
    if (!lua_isnil(L, -1) && !lua_isfunction(L, -1))
        luaL_error(L, "edit must be a function over the attempt's copy of the body");
}

double lua_options_read_race(lua_State *L, int index)
{
    static const char *const options[] = {"after", "commit", "timeout", NULL};

    luaL_checktype(L, index, LUA_TTABLE);
    check_names(L, index, options, "race's options");
    lua_getfield(L, index, "after");
    double after = lua_tonumber(L, -1);
    if (lua_type(L, -1) != LUA_TNUMBER || !(after >= 0 && after <= 3600))
        luaL_error(L, "race wants { after = s }: the seconds until the next target is tried too");
    lua_pop(L, 1);
    return after;
}
