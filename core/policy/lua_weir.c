/* lua_weir.c -- what Weir's own Lua modules reach of C: require("weir.host").
 *
 * Policies never see this table; lua/weir/library.lua wraps what they may use. */
/* SPDX-License-Identifier: MIT */
#include "embed.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "leaves/url.h"
#include "limits/limit.h"
#include "lua_core.h"
#include "secret.h"
#include "sources.h"
#include <linux/limits.h>
#include <stdlib.h>

static const char SECRET[] = "weir.Secret";

enum {
    FILE_MAX = 1024 * 1024, /* bytes of a Lua file */
    LINES_MAX = 100,        /* that one request may log */
    LINES_BURST = 1000,     /* that a worker's policies may log at once */
    LINES_RATE = 100,       /* a second, in the long run */
};

/* What a generation is made of is read while it is loaded, and not later: all workers then have
 * the same of it. */
static const char *read_source(lua_State *L, const char *path, size_t max, bool plain,
                               struct buf *text)
{
    struct sources *sources = lua_generation(L)->sources;

    if (!sources)
        return "files are read while weir.lua is loaded, not later";
    return sources_read(sources, path, max, plain, text);
}

/* ---- secrets ---- */

struct secret *lua_weir_secret(lua_State *L, int index)
{
    struct secret **slot = luaL_testudata(L, index, SECRET);
    return slot ? *slot : NULL;
}

static int push_secret(lua_State *L, struct secret *secret)
{
    struct secret **slot = lua_newuserdata(L, sizeof *slot);

    *slot = secret;
    luaL_getmetatable(L, SECRET);
    lua_setmetatable(L, -2);
    return 1;
}

static int host_env(lua_State *L)
{
    return push_secret(L, secret_from_env(luaL_checkstring(L, 1)));
}

static int host_file(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct buf text = {0};

    if (read_source(L, path, SECRET_MAX, false, &text))
        buf_clear(&text); /* a secret that is not set: weir check says so */
    struct secret *secret = secret_from_file(path, buf_slice(&text));
    if (text.base)
        explicit_bzero(text.base, text.capacity);
    buf_free(&text);
    return push_secret(L, secret);
}

static int host_is_secret(lua_State *L)
{
    luaL_checkany(L, 1);
    lua_pushboolean(L, lua_weir_secret(L, 1) != NULL);
    return 1;
}

/* url_problem(secret): why it is no URL, or nil */
static int host_url_problem(lua_State *L)
{
    struct url url;

    lua_pushstring(L, url_split(secret_text(lua_weir_secret(L, 1)), &url));
    return 1;
}

static int secret_index(lua_State *L)
{
    struct secret *secret = lua_weir_secret(L, 1);
    const char *name = lua_tostring(L, 2);

    if (secret && name && strcmp(name, "is_set") == 0)
        lua_pushboolean(L, secret_is_set(secret));
    else
        lua_pushnil(L);
    return 1;
}

static int secret_tostring(lua_State *L)
{
    struct secret *secret = lua_weir_secret(L, 1);
    lua_pushstring(L, secret ? secret_origin(secret) : "weir.Secret");
    return 1;
}

static int secret_gc(lua_State *L)
{
    struct secret **slot = lua_touserdata(L, 1);
    secret_free(*slot);
    *slot = NULL;
    return 0;
}

static void open_secret(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"__gc", secret_gc},
        {"__index", secret_index},
        {"__tostring", secret_tostring},
        {NULL, NULL},
    };
    luaL_newmetatable(L, SECRET);
    luaL_setfuncs(L, methods, 0);
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

/* ---- time, logs ---- */

static int host_now(lua_State *L)
{
    lua_pushnumber(L, (double)loop_now_us() / 1e6);
    return 1;
}

static int host_time(lua_State *L)
{
    lua_pushnumber(L, loop_wall_seconds());
    return 1;
}

struct policy *lua_may_wait(lua_State *L, const char *function)
{
    struct policy *policy = lua_generation(L)->running;
    bool may_wait = policy && policy->co == L &&
                    (policy->state == POLICY_RUNNING || policy->state == POLICY_FILTERING);
    if (!may_wait)
        luaL_error(L, "%s may only be called while a policy or a filter runs", function);
    if (!lua_isyieldable(L)) /* asked first: the timer would run when the yield failed */
        luaL_error(L, "%s cannot wait inside a function that C calls (a sort's, a gsub's, an edit)",
                   function);
    return policy;
}

/* sleep(seconds) yields; the exchange resumes. */
static int host_sleep(lua_State *L)
{
    double seconds = luaL_checknumber(L, 1);
    struct policy *policy = lua_may_wait(L, "weir.sleep");

    if (policy->state == POLICY_RUNNING)
        policy->state = POLICY_SLEEPING;
    policy->host->on_sleep(policy->host_arg, seconds);
    return lua_yield(L, 0);
}

/* A field's name is for people, and no place for a credential. */
static const char *plain_name(const char *name)
{
    struct buf masked = {0};

    log_redact(&masked, slice_of(name));
    bool is_plain = slice_is(buf_slice(&masked), name);
    buf_free(&masked);
    return is_plain ? name : "masked";
}

static void log_field(lua_State *L, struct log_line *line)
{
    lua_pushvalue(L, -2); /* [name, value, name] */
    const char *name = plain_name(lua_tostring(L, -1));
    switch (lua_type(L, -2)) {
    case LUA_TNUMBER:
    case LUA_TSTRING: {
        size_t len;
        lua_pushvalue(L, -2); /* tolstring turns a number into text in place */
        const char *text = lua_tolstring(L, -1, &len);
        log_text(line, name, (struct slice){text, len});
        lua_pop(L, 1);
        break;
    }
    case LUA_TBOOLEAN: log_bool(line, name, lua_toboolean(L, -2)); break;
    default: log_str(line, name, luaL_typename(L, -2));
    }
    lua_pop(L, 1);
}

static void log_hoarse(const struct policy *policy)
{
    struct log_line line = log_begin(LOG_WARN, "policy_log_limit");

    log_str(&line, "id", policy->request->id);
    log_int(&line, "lines", LINES_MAX);
    log_end(&line);
}

/* Takes a line from the bucket, and from what the request may write. */
static bool may_say(struct lua_voice *voice, struct policy *policy)
{
    int64_t now_us = loop_now_us();

    voice->lines += voice->at_us ? (double)(now_us - voice->at_us) / 1e6 * LINES_RATE : LINES_BURST;
    if (voice->lines > LINES_BURST)
        voice->lines = LINES_BURST;
    voice->at_us = now_us;
    if (policy && policy->lines == LINES_MAX)
        log_hoarse(policy);
    bool is_hoarse = policy && policy->lines++ >= LINES_MAX;
    if (is_hoarse || voice->lines < 1) {
        voice->left_out++;
        return false;
    }
    voice->lines--;
    return true;
}

/* log(level, event, fields) */
static int host_log(lua_State *L)
{
    static const char *const levels[] = {"debug", "info", "warn", "error", NULL};
    enum log_level level = (enum log_level)luaL_checkoption(L, 1, "info", levels);
    const char *event = luaL_checkstring(L, 2);
    struct policy *policy = lua_generation(L)->running;

    luaL_checktype(L, 3, LUA_TTABLE);
    struct lua_voice *voice = &lua_generation(L)->voice;
    if (!log_wants(level) || !may_say(voice, policy))
        return 0;
    struct log_line line = log_begin(level, "policy");
    log_str(&line, "says", event);
    if (policy)
        log_str(&line, "id", policy->request->id);
    lua_pushnil(L);
    while (lua_next(L, 3)) {
        if (lua_type(L, -2) == LUA_TSTRING)
            log_field(L, &line);
        lua_pop(L, 1);
    }
    if (voice->left_out)
        log_int(&line, "left_out", (int64_t)voice->left_out);
    voice->left_out = 0;
    log_end(&line);
    return 0;
}

static int host_redact(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    struct buf out = {0};

    log_redact(&out, (struct slice){text, len});
    lua_pushlstring(L, out.ptr ? out.ptr : "", out.len);
    buf_free(&out);
    return 1;
}

/* where(level) -> "weir.lua:12", or nil */
static int host_where(lua_State *L)
{
    lua_Debug info;

    if (!lua_getstack(L, (int)luaL_checkinteger(L, 1), &info))
        return 0;
    lua_getinfo(L, "Sl", &info);
    if (info.currentline <= 0)
        return 0;
    lua_pushfstring(L, "%s:%d", info.short_src, info.currentline);
    return 1;
}

/* ---- files and code ---- */

/* read_file(path) -> text, or nil and why */
static int host_read_file(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    struct buf text = {0};
    const char *why = read_source(L, path, FILE_MAX, true, &text);

    if (why) {
        buf_free(&text);
        lua_pushnil(L);
        lua_pushfstring(L, "%s: %s", path, why);
        return 2;
    }
    lua_pushlstring(L, text.ptr ? text.ptr : "", text.len);
    buf_free(&text);
    return 1;
}

/* is_outside(folder, path) -> whether what is at path lies elsewhere, through symbolic links.
 * Links within the folder are fine: so are files mounted into containers. */
static int host_is_outside(lua_State *L)
{
    const char *folder = luaL_checkstring(L, 1);
    const struct sources *sources = lua_generation(L)->sources;
    char root[PATH_MAX], full[PATH_MAX];
    bool is_there =
        (!sources || sources_is_live(sources)) && /* a snapshot was looked at when it was made */
        realpath(*folder ? folder : ".", root) && realpath(luaL_checkstring(L, 2), full);
    size_t len = is_there ? strlen(root) : 0;

    while (len && root[len - 1] == '/')
        len--; /* the root folder itself */
    lua_pushboolean(L, is_there && (strncmp(full, root, len) != 0 || full[len] != '/'));
    return 1;
}

/* embedded(module) -> text, path; nothing when Weir has none of that name */
static int host_embedded(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);

    for (size_t i = 0; i < embed_count; i++) {
        if (strcmp(embed_files[i].module, name) == 0) {
            lua_pushlstring(L, embed_files[i].text, embed_files[i].len);
            lua_pushstring(L, embed_files[i].path);
            return 2;
        }
    }
    return 0;
}

/* compile(text, chunk name, environment) -> function, or nil and why.  Text only: bytecode is
 * not checked by its loader. */
static int host_compile(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    const char *name = luaL_checkstring(L, 2);

    luaL_checktype(L, 3, LUA_TTABLE);
    if (luaL_loadbufferx(L, text, len, name, "t")) {
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    lua_pushvalue(L, 3);
    lua_setfenv(L, -2);
    return 1;
}

/* call(function) -> true, result; or false and the error */
static int host_call(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    int bad = lua_pcall(L, 0, 1, 0);
    if (bad && lua_type(L, -1) != LUA_TSTRING) {
        lua_pop(L, 1);
        lua_pushliteral(L, "an error that is no text");
    }
    lua_pushboolean(L, !bad);
    lua_insert(L, -2);
    return 2;
}

/* pairs(t), which LuaJIT's does not do: a __pairs of the metatable's is asked. */
static int host_pairs(lua_State *L)
{
    luaL_checkany(L, 1);
    if (luaL_getmetafield(L, 1, "__pairs")) {
        lua_pushvalue(L, 1);
        lua_call(L, 1, 3);
        return 3;
    }
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_getglobal(L, "next");
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

enum { REACH_DEPTH = 16 };

/* Whether the function on top holds the table at wanted, itself or through what it holds. */
static bool reaches(lua_State *L, int wanted, int seen, int depth)
{
    int function = lua_gettop(L);

    lua_pushvalue(L, function);
    lua_rawget(L, seen);
    bool known = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (known || depth > REACH_DEPTH || !lua_checkstack(L, 8))
        return false;
    lua_pushvalue(L, function);
    lua_pushboolean(L, 1);
    lua_rawset(L, seen);
    for (int i = 1; lua_getupvalue(L, function, i); i++) {
        bool found = lua_rawequal(L, -1, wanted) ||
                     (lua_isfunction(L, -1) && reaches(L, wanted, seen, depth + 1));
        lua_pop(L, 1);
        if (found)
            return true;
    }
    return false;
}

/* reaches(function, table) -> boolean */
static int host_reaches(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TFUNCTION);
    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    lua_newtable(L);
    lua_pushvalue(L, 1); /* [function, table, seen, function] */
    lua_pushboolean(L, reaches(L, 2, 3, 0));
    return 1;
}

/* ---- JSON ---- */

static int host_json_decode(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    return lua_json_decode(L, (struct slice){text, len}, 0, NULL) ? 1 : 2;
}

static int host_json_encode(lua_State *L)
{
    struct buf out = {0};

    luaL_checkany(L, 1);
    lua_settop(L, 1);
    if (!lua_json_encode(L, 1, &out)) {
        buf_free(&out);
        lua_pushnil(L);
        lua_insert(L, -2);
        return 2;
    }
    lua_pushlstring(L, out.ptr, out.len);
    buf_free(&out);
    return 1;
}

static int host_json_array(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    lua_settop(L, 1);
    luaL_getmetatable(L, "weir.array");
    lua_setmetatable(L, 1);
    return 1;
}

void lua_weir_push_host(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"call", host_call},
        {"compile", host_compile},
        {"embedded", host_embedded},
        {"env", host_env},
        {"fetch", lua_fetch_start},
        {"fetched", lua_fetch_result},
        {"file", host_file},
        {"is_outside", host_is_outside},
        {"is_secret", host_is_secret},
        {"json_array", host_json_array},
        {"json_decode", host_json_decode},
        {"json_encode", host_json_encode},
        {"log", host_log},
        {"metric", lua_metric_add},
        {"now", host_now},
        {"pairs", host_pairs},
        {"reaches", host_reaches},
        {"read_file", host_read_file},
        {"redact", host_redact},
        {"shared", lua_shared_new},
        {"sleep", host_sleep},
        {"target", lua_target_new},
        {"time", host_time},
        {"url_problem", host_url_problem},
        {"where", host_where},
        {"zone", lua_zone_find},
        {NULL, NULL},
    };
    open_secret(L);
    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    lua_pushlightuserdata(L, NULL);
    lua_setfield(L, -2, "null");
}
