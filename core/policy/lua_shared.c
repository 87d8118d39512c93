/* lua_shared.c -- weir.shared(name) and weir.target(name): what all workers know. */
/* SPDX-License-Identifier: MIT */
#include "leaves/loop.h"
#include "leaves/shared.h"
#include "lua_core.h"
#include "ration.h"

static const char SHARED[] = "weir.Shared";
static const char TARGET[] = "weir.Target";

/* ---- weir.shared ---- */

/* The userdata is the dictionary's name and a zero byte, which begin each of its keys. */
static struct slice check_key(lua_State *L, char room[static SHARED_KEY_MAX])
{
    size_t len;
    const char *name = luaL_checkudata(L, 1, SHARED);
    size_t name_len = strlen(name) + 1;
    const char *key = luaL_checklstring(L, 2, &len);

    luaL_argcheck(L, len > 0 && name_len + len <= SHARED_KEY_MAX, 2,
                  "a key has 1 to some 190 bytes, the dictionary's name counted");
    memcpy(room, name, name_len);
    memcpy(room + name_len, key, len);
    return (struct slice){room, name_len + len};
}

static int64_t check_end(lua_State *L, int index, int64_t now_us)
{
    if (lua_isnoneornil(L, index))
        return 0;
    double seconds = luaL_checknumber(L, index);
    luaL_argcheck(L, seconds > 0 && seconds <= 1e9, index, "the time to live is seconds, above 0");
    return now_us + (int64_t)(seconds * 1e6);
}

static struct shared *shared_of(lua_State *L)
{
    return limits_shared(lua_generation(L)->limits);
}

/* shared:get(key) -> value or nil */
static int shared_lua_get(lua_State *L)
{
    char room[SHARED_KEY_MAX];
    struct shared_value value;
    struct slice key = check_key(L, room);

    shared_get(shared_of(L), key, loop_now_us(), &value);
    switch (value.type) {
    case SHARED_NOTHING: lua_pushnil(L); break;
    case SHARED_BOOLEAN: lua_pushboolean(L, value.number != 0); break;
    case SHARED_NUMBER: lua_pushnumber(L, value.number); break;
    case SHARED_STRING: lua_pushlstring(L, value.text, value.len); break;
    }
    return 1;
}

/* shared:set(key, value, seconds or nil); nil deletes */
static int shared_lua_set(lua_State *L)
{
    char room[SHARED_KEY_MAX];
    struct shared_value value = {0};
    struct slice key = check_key(L, room);
    int64_t now_us = loop_now_us();
    int64_t until_us = check_end(L, 4, now_us);
    const char *text;

    switch (lua_type(L, 3)) {
    case LUA_TNIL: shared_delete(shared_of(L), key); return 0;
    case LUA_TBOOLEAN:
        value.type = SHARED_BOOLEAN;
        value.number = lua_toboolean(L, 3);
        break;
    case LUA_TNUMBER:
        value.type = SHARED_NUMBER;
        value.number = lua_tonumber(L, 3);
        break;
    case LUA_TSTRING:
        text = lua_tolstring(L, 3, &value.len);
        luaL_argcheck(L, value.len <= SHARED_VALUE_MAX, 3, "a string of at most 1024 bytes");
        value.type = SHARED_STRING;
        memcpy(value.text, text, value.len);
        break;
    default: return luaL_argerror(L, 3, "a string, a number, a boolean or nil");
    }
    if (shared_set(shared_of(L), key, &value, until_us, now_us))
        return luaL_argerror(L, 2, "the key is too long");
    return 0;
}

/* shared:incr(key, by or 1, seconds or nil) -> the sum, or nil and why */
static int shared_lua_incr(lua_State *L)
{
    char room[SHARED_KEY_MAX];
    struct slice key = check_key(L, room);
    int64_t now_us = loop_now_us();
    double by = luaL_optnumber(L, 3, 1), sum;
    int64_t until_us = check_end(L, 4, now_us);

    if (shared_add(shared_of(L), key, by, until_us, now_us, &sum)) {
        lua_pushnil(L);
        lua_pushliteral(L, "what is there is no number");
        return 2;
    }
    lua_pushnumber(L, sum);
    return 1;
}

/* shared:delete(key) */
static int shared_lua_delete(lua_State *L)
{
    char room[SHARED_KEY_MAX];

    shared_delete(shared_of(L), check_key(L, room));
    return 0;
}

int lua_shared_new(lua_State *L)
{
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);

    luaL_argcheck(L, len > 0 && len <= 64 && strlen(name) == len, 1,
                  "a dictionary's name has 1 to 64 bytes");
    memcpy(lua_newuserdata(L, len + 1), name, len + 1);
    luaL_getmetatable(L, SHARED);
    lua_setmetatable(L, -2);
    return 1;
}

/* ---- weir.target ---- */

struct slice lua_target_test(lua_State *L, int index)
{
    const char *name = luaL_testudata(L, index, TARGET);
    return name ? slice_of(name) : (struct slice){NULL, 0};
}

static struct slice check_target(lua_State *L)
{
    return slice_of(luaL_checkudata(L, 1, TARGET));
}

static struct limits *limits_of(lua_State *L)
{
    return lua_generation(L)->limits;
}

/* What stands at index 1, by all keys of its provider. */
static struct limits_target limits_target_of(lua_State *L)
{
    struct slice name = check_target(L);
    size_t len = (size_t)(strchr(name.ptr, '/') - name.ptr);
    struct slice provider = {name.ptr, len}, model = {name.ptr + len + 1, name.len - len - 1};

    return ration_target(config_provider(&lua_generation(L)->config, provider), provider, model);
}

/* target:cooling() -> seconds until it may be tried and the reason, or nil */
static int target_cooling(lua_State *L)
{
    struct limits_target target = limits_target_of(L);
    struct limits_wait wait;
    int64_t now_us = loop_now_us();

    if (limits_check(limits_of(L), &target, 1, now_us, &wait))
        return 0;
    lua_pushnumber(L, (double)(wait.until_us - now_us) / 1e6);
    lua_pushstring(L, wait.reason);
    return 2;
}

/* target:cool(seconds, reason or nil) */
static int target_cool(lua_State *L)
{
    struct limits_target target = limits_target_of(L);
    double seconds = luaL_checknumber(L, 2);
    int64_t now_us = loop_now_us();

    luaL_argcheck(L, seconds > 0 && seconds <= 1e7, 2, "seconds, above 0");
    limits_cool(limits_of(L), &target, now_us + (int64_t)(seconds * 1e6),
                luaL_optstring(L, 3, "policy"), now_us);
    return 0;
}

/* target:uncool() */
static int target_uncool(lua_State *L)
{
    struct limits_target target = limits_target_of(L);

    limits_uncool(limits_of(L), &target);
    return 0;
}

/* target:quota(dimension) -> { limit =, remaining =, reset = }, or nil while nobody knows */
static int target_quota(lua_State *L)
{
    struct limits_target target = limits_target_of(L);
    size_t len;
    const char *name = luaL_checklstring(L, 2, &len);
    enum quota_dimension dimension = quota_named((struct slice){name, len});
    struct limits_quota quota;
    int64_t now_us = loop_now_us();

    luaL_argcheck(L, dimension < QUOTA_COUNT, 2, "a dimension: rpm, tpm, rpd, tpd, …");
    if (!limits_quota(limits_of(L), &target, dimension, now_us, &quota))
        return 0;
    lua_createtable(L, 0, 3);
    lua_pushnumber(L, (lua_Number)quota.left);
    lua_setfield(L, -2, "remaining");
    if (quota.limit >= 0) {
        lua_pushnumber(L, (lua_Number)quota.limit);
        lua_setfield(L, -2, "limit");
    }
    if (quota.reset_us > now_us) {
        lua_pushnumber(L, (double)(quota.reset_us - now_us) / 1e6);
        lua_setfield(L, -2, "reset");
    }
    return 1;
}

/* target:latency() -> seconds to the commit point, recent, or nil */
static int target_latency(lua_State *L)
{
    struct limits_target target = limits_target_of(L);
    int64_t us = limits_latency_us(limits_of(L), &target);

    if (us <= 0)
        return 0;
    lua_pushnumber(L, (double)us / 1e6);
    return 1;
}

/* target:inflight() -> attempts that run now, in all workers */
static int target_inflight(lua_State *L)
{
    struct limits_target target = limits_target_of(L);

    lua_pushinteger(L, limits_inflight(limits_of(L), &target));
    return 1;
}

static int target_tostring(lua_State *L)
{
    struct slice name = check_target(L);
    lua_pushlstring(L, name.ptr, name.len);
    return 1;
}

int lua_target_new(lua_State *L)
{
    size_t len;
    const char *name = luaL_checklstring(L, 1, &len);
    const char *slash = strchr(name, '/');

    luaL_argcheck(L, slash && slash != name && slash[1] && strlen(name) == len, 1,
                  "a target is written provider/model");
    memcpy(lua_newuserdata(L, len + 1), name, len + 1);
    luaL_getmetatable(L, TARGET);
    lua_setmetatable(L, -2);
    return 1;
}

/* ---- types ---- */

static void open_type(lua_State *L, const char *type, const luaL_Reg *methods)
{
    luaL_newmetatable(L, type); /* [mt] */
    lua_newtable(L);
    luaL_setfuncs(L, methods, 0);
    lua_setfield(L, -2, "__index");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
}

void lua_shared_open(lua_State *L)
{
    static const luaL_Reg shared_methods[] = {
        {"delete", shared_lua_delete},
        {"get", shared_lua_get},
        {"incr", shared_lua_incr},
        {"set", shared_lua_set},
        {NULL, NULL},
    };
    static const luaL_Reg target_methods[] = {
        {"cool", target_cool},
        {"cooling", target_cooling},
        {"inflight", target_inflight},
        {"latency", target_latency},
        {"quota", target_quota},
        {"uncool", target_uncool},
        {NULL, NULL},
    };

    open_type(L, SHARED, shared_methods);
    lua_pop(L, 1);
    open_type(L, TARGET, target_methods);
    lua_pushcfunction(L, target_tostring);
    lua_setfield(L, -2, "__tostring");
    lua_pop(L, 1);
}
