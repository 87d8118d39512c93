/* lua_string.c -- find, match, gmatch, gsub and format, under the budget: LuaJIT's own run on. */
/* SPDX-License-Identifier: MIT */
#include "lua_string.h"
#include "lua_match.h"
#include <ctype.h>
#include <lauxlib.h>
#include <stdbool.h>
#include <string.h>

/* ---- what a match gives ---- */

/* Capture i of the match from s to e; capture 0 of none is the whole. */
static void push_capture(struct lua_match *m, int i, const char *s, const char *e)
{
    if (i >= m->count) {
        if (i > 0)
            luaL_error(m->L, "invalid capture index");
        lua_pushlstring(m->L, s, (size_t)(e - s));
        return;
    }
    const struct lua_capture *capture = &m->captures[i];
    if (capture->len == LUA_MATCH_OPEN)
        luaL_error(m->L, "unfinished capture");
    if (capture->len == LUA_MATCH_POSITION)
        lua_pushinteger(m->L, capture->at - m->begin + 1);
    else
        lua_pushlstring(m->L, capture->at, (size_t)capture->len);
}

static int push_captures(struct lua_match *m, const char *s, const char *e)
{
    int count = m->count == 0 && s ? 1 : m->count;

    luaL_checkstack(m->L, count, "too many captures");
    for (int i = 0; i < count; i++)
        push_capture(m, i, s, e);
    return count;
}

/* ---- find, match ---- */

/* Where argument 3 says that the search begins. */
static size_t begin_of(lua_State *L, size_t len)
{
    lua_Integer init = luaL_optinteger(L, 3, 1);

    init = init < 0 ? init + (lua_Integer)len : init - 1;
    if (init < 0)
        init = 0;
    return (size_t)init > len ? len : (size_t)init;
}

static bool is_plain(const char *pattern, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (pattern[i] && strchr("^$*+?.([%-", pattern[i]))
            return false;
    return true;
}

/* memmem takes time by the sum of the two lengths, never by their product. */
static int find_plain(lua_State *L, const char *s, size_t len, size_t begin, const char *p,
                      size_t pattern_len)
{
    const char *found = memmem(s + begin, len - begin, p, pattern_len);

    if (!found) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, found - s + 1);
    lua_pushinteger(L, found - s + (ptrdiff_t)pattern_len);
    return 2;
}

static int search(lua_State *L, bool wants_place)
{
    size_t len, pattern_len;
    const char *s = luaL_checklstring(L, 1, &len);
    const char *p = luaL_checklstring(L, 2, &pattern_len);
    if (!s || !p)
        return 0; /* luaL_checklstring does not return then, which only Lua knows */
    size_t begin = begin_of(L, len);

    if (wants_place && (lua_toboolean(L, 4) || is_plain(p, pattern_len)))
        return find_plain(L, s, len, begin, p, pattern_len);
    struct lua_match m = lua_match_init(L, s, len, p, pattern_len);
    bool is_anchored = pattern_len && *p == '^';
    const char *at = s + begin;
    do {
        const char *end = lua_match_at(&m, at, p + is_anchored);
        if (end && !wants_place)
            return push_captures(&m, at, end);
        if (end) {
            lua_pushinteger(L, at - s + 1);
            lua_pushinteger(L, end - s);
            return push_captures(&m, NULL, NULL) + 2;
        }
    } while (at++ < m.end && !is_anchored);
    lua_pushnil(L);
    return 1;
}

static int string_find(lua_State *L)
{
    return search(L, true);
}

static int string_match(lua_State *L)
{
    return search(L, false);
}

/* ---- gmatch ---- */

/* Upvalues: subject, pattern, where to go on. */
static int next_match(lua_State *L)
{
    size_t len, pattern_len;
    const char *s = lua_tolstring(L, lua_upvalueindex(1), &len);
    const char *p = lua_tolstring(L, lua_upvalueindex(2), &pattern_len);
    struct lua_match m = lua_match_init(L, s, len, p, pattern_len);

    for (const char *at = s + lua_tointeger(L, lua_upvalueindex(3)); at <= m.end; at++) {
        const char *end = lua_match_at(&m, at, p);
        if (!end)
            continue;
        lua_pushinteger(L, end - s + (end == at)); /* an empty match moves on */
        lua_replace(L, lua_upvalueindex(3));
        return push_captures(&m, at, end);
    }
    lua_pushinteger(L, (lua_Integer)len + 1);
    lua_replace(L, lua_upvalueindex(3));
    return 0;
}

static int string_gmatch(lua_State *L)
{
    luaL_checkstring(L, 1);
    luaL_checkstring(L, 2);
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_match, 3);
    return 1;
}

/* ---- gsub ---- */

/* Argument 3 as text: %1 to %9 are captures, %0 the whole, and % before another that itself. */
static void add_text(struct lua_match *m, luaL_Buffer *out, const char *s, const char *e)
{
    size_t len;
    const char *text = lua_tolstring(m->L, 3, &len);

    for (size_t i = 0; i < len; i++) {
        if (text[i] != '%') {
            luaL_addchar(out, text[i]);
            continue;
        }
        i++; /* at the end it is the NUL that every string has, as in LuaJIT */
        if (!isdigit((unsigned char)text[i])) {
            luaL_addchar(out, text[i]);
        } else if (text[i] == '0') {
            luaL_addlstring(out, s, (size_t)(e - s));
        } else {
            push_capture(m, text[i] - '1', s, e);
            luaL_addvalue(out);
        }
    }
}

/* What stands for the match from s to e. */
static void add_replacement(struct lua_match *m, luaL_Buffer *out, const char *s, const char *e)
{
    lua_State *L = m->L;

    switch (lua_type(L, 3)) {
    case LUA_TFUNCTION:
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(m, s, e), 1);
        break;
    case LUA_TTABLE:
        push_capture(m, 0, s, e);
        lua_gettable(L, 3);
        break;
    default: add_text(m, out, s, e); return;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(out, s, (size_t)(e - s));
        return;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(out);
}

static void check_replacement(lua_State *L)
{
    switch (lua_type(L, 3)) {
    case LUA_TNUMBER:
    case LUA_TSTRING:
    case LUA_TTABLE:
    case LUA_TFUNCTION: return;
    default: luaL_argerror(L, 3, "string/function/table expected");
    }
}

static int string_gsub(lua_State *L)
{
    size_t len, pattern_len;
    const char *s = luaL_checklstring(L, 1, &len);
    const char *p = luaL_checklstring(L, 2, &pattern_len);
    luaL_Buffer out;

    if (!s || !p)
        return 0; /* as above */
    check_replacement(L);
    lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)len + 1), count = 0;
    struct lua_match m = lua_match_init(L, s, len, p, pattern_len);
    bool is_anchored = pattern_len && *p == '^';
    luaL_buffinit(L, &out);
    while (count < most) {
        const char *end = lua_match_at(&m, s, p + is_anchored);
        if (end) {
            count++;
            add_replacement(&m, &out, s, end);
        }
        if (end && end > s)
            s = end;
        else if (s < m.end)
            luaL_addlstring(&out, s++, 1);
        else
            break;
        if (is_anchored)
            break;
    }
    luaL_addlstring(&out, s, (size_t)(m.end - s));
    luaL_pushresult(&out);
    lua_pushinteger(L, count);
    return 2;
}

/* ---- format ---- */

/* The value at index as text without an address, in its place. */
static void name_value(lua_State *L, int index)
{
    if (lua_isstring(L, index) || lua_isnil(L, index) || lua_isboolean(L, index))
        return;
    if (!luaL_callmeta(L, index, "__tostring"))
        lua_pushstring(L, luaL_typename(L, index));
    else if (!lua_isstring(L, -1))
        luaL_error(L, "'__tostring' must return a string");
    lua_replace(L, index);
}

/* LuaJIT's own, upvalue 1, without what would tell where things lie in memory. */
static int string_format(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    int argument = 1, count = lua_gettop(L);

    for (size_t i = 0; i < len; i++) {
        if (text[i] != '%' || text[++i] == '%')
            continue;
        i += strspn(text + i, "-+ #0123456789.");
        argument++;
        if (text[i] == 'p')
            return luaL_error(L, "invalid option '%%p' to 'format'");
        if (text[i] == 's' && argument <= count)
            name_value(L, argument);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, count, 1);
    return 1;
}

/* ---- the library ---- */

int lua_string_new(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"find", string_find}, {"gmatch", string_gmatch},
        {"gsub", string_gsub}, {"match", string_match},
        {NULL, NULL},
    };

    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    lua_getglobal(L, "string");
    lua_getfield(L, -1, "format");
    lua_pushcclosure(L, string_format, 1); /* [functions, string, format] */
    lua_setfield(L, -3, "format");
    lua_pop(L, 1);
    return 1;
}

void lua_string_open(lua_State *L)
{
    lua_getglobal(L, "string");
    lua_string_new(L); /* [string, functions] */
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -5); /* [string, functions, name] */
    }
    lua_pop(L, 1);
    lua_pushnil(L);
    lua_setfield(L, -2, "dump");
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1); /* [string, "", mt] */
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 3);
}
