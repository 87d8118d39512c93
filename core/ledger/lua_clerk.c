/* lua_clerk.c -- functions for lua/weir/clerk*.lua; it is handed them as one table. */
/* SPDX-License-Identifier: MIT */
#include "lua_clerk.h"
#include "leaves/log.h"
#include "leaves/mem.h"
#include "ledger.h"
#include "lua_purse.h"
#include "lua_texts.h"
#include "lua_usage.h"
#include "policy/embed.h"
#include "policy/lua_core.h"
#include <luajit.h>
#include <stdlib.h>
#include <sys/random.h>

enum { VALUES_MAX = 32, KEY_BYTES = 20 /* 160 random bits */, HOOK_COUNT = 20000 };

static const char CLERK[] = "weir.clerk"; /* in the registry, for on_count */

struct lua_clerk {
    lua_State *L;
    struct lua_clerk_settings with;
    bool is_reading; /* who asks changes nothing */
    int module_ref;
};

static struct lua_clerk *clerk_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

/* ---- the ledger ---- */

static void push_value(lua_State *L, const struct ledger_value *value)
{
    if (value->type == LEDGER_NUMBER)
        lua_pushnumber(L, value->number);
    else if (value->type == LEDGER_NULL)
        lua_pushnil(L);
    else
        lua_pushlstring(L, value->text.ptr ? value->text.ptr : "", value->text.len);
}

struct asking {
    lua_State *L;
    bool has_failed; /* and why is on top */
};

/* The function at index 1 is called with each row, until it raises: the statement has to end all
 * the same, or what it reads stays as it is for good. */
static void give_row(void *arg, const struct ledger_row *row)
{
    struct asking *asking = arg;
    lua_State *L = asking->L;

    if (asking->has_failed)
        return;
    lua_pushvalue(L, 1);
    lua_createtable(L, 0, (int)row->count);
    for (size_t i = 0; i < row->count; i++) {
        push_value(L, &row->values[i]);
        lua_setfield(L, -2, row->names[i]);
    }
    asking->has_failed = lua_pcall(L, 1, 0, 0) != 0;
}

typedef bool ledger_asks(struct ledger *ledger, const char *sql, const struct ledger_value *values,
                         size_t count, void (*row)(void *arg, const struct ledger_row *row),
                         void *arg);

static int ask(lua_State *L, ledger_asks *asks)
{
    struct lua_clerk *clerk = clerk_of(L);
    struct ledger_value values[VALUES_MAX];
    struct asking asking = {L, false};
    int count = lua_gettop(L) - 2;

    luaL_argcheck(L, count <= VALUES_MAX, 2, "too many values");
    for (int i = 0; i < count; i++) {
        int type = lua_type(L, 3 + i);
        values[i] = (struct ledger_value){LEDGER_NULL, 0, {NULL, 0}};
        if (type == LUA_TNUMBER) {
            values[i].type = LEDGER_NUMBER;
            values[i].number = lua_tonumber(L, 3 + i);
        } else if (type == LUA_TSTRING) {
            values[i].type = LEDGER_TEXT;
            values[i].text.ptr = lua_tolstring(L, 3 + i, &values[i].text.len);
        }
    }
    if (!asks(clerk->with.ledger, luaL_checkstring(L, 2), values, (size_t)count, give_row,
              &asking)) {
        lua_pushfstring(L, "ledger: %s", ledger_problem(clerk->with.ledger)); /* 503 */
        return lua_error(L);
    }
    if (asking.has_failed)
        return lua_error(L);
    return 0;
}

/* each(function(row), sql, value …) */
static int ledger_each(lua_State *L)
{
    return ask(L, clerk_of(L)->is_reading ? ledger_read : ledger_ask);
}

/* aside(function(row), sql, value …): of what reads long, while rows are written */
static int ledger_aside(lua_State *L)
{
    return ask(L, ledger_read);
}

/* breathe(): between parts of what takes long; rows are written if it is time */
static int ledger_breathe(lua_State *L)
{
    struct lua_clerk *clerk = clerk_of(L);

    clerk->with.breathe(clerk->with.arg);
    return 0;
}

static int ledger_id(lua_State *L)
{
    lua_pushnumber(L, (double)ledger_last_id(clerk_of(L)->with.ledger));
    return 1;
}

/* settle() -> false: not all that was spent could be written */
static int ledger_settle(lua_State *L)
{
    struct lua_clerk *clerk = clerk_of(L);

    lua_pushboolean(L, clerk->with.settle(clerk->with.arg));
    return 1;
}

/* ---- keys ---- */

static void text_in(lua_State *L, const char *name, char *to, size_t size)
{
    lua_getfield(L, 1, name);
    snprintf(to, size, "%s", lua_tostring(L, -1) ? lua_tostring(L, -1) : "");
    lua_pop(L, 1);
}

/* publish(account): into the table that workers read; false: no room for one of that number */
static int keys_publish(lua_State *L)
{
    struct keys_account account = {
        .number = keys_number(lua_number_in(L, 1, "id", 0)),
        .team = keys_number(lua_number_in(L, 1, "team", 0)),
        .rpm = (int64_t)lua_number_in(L, 1, "rpm", 0),
        .tpm = (int64_t)lua_number_in(L, 1, "tpm", 0),
        .concurrent = (int32_t)lua_number_in(L, 1, "concurrent", 0),
        .budget = (int64_t)lua_number_in(L, 1, "budget", 0),
        .warns_at = (int64_t)lua_number_in(L, 1, "warns_at", 0),
        .expires_s = (int64_t)lua_number_in(L, 1, "expires", 0),
        .store_s = (int64_t)lua_number_in(L, 1, "store", 0),
        .is_revoked = lua_number_in(L, 1, "revoked", 0) != 0,
    };

    lua_getfield(L, 1, "budget");
    account.has_budget = !lua_isnil(L, -1);
    lua_getfield(L, 1, "kind");
    account.is_team = lua_tostring(L, -1) && strcmp(lua_tostring(L, -1), "team") == 0;
    lua_pop(L, 2);
    text_in(L, "name", account.name, sizeof account.name);
    text_in(L, "period", account.period, sizeof account.period);
    text_in(L, "models", account.models, sizeof account.models);
    text_in(L, "labels", account.labels, sizeof account.labels);
    lua_pushboolean(L, keys_put(clerk_of(L)->with.keys, &account));
    return 1;
}

/* publish_digest(digest, id, until) */
static int keys_publish_digest(lua_State *L)
{
    size_t len;
    const char *digest = luaL_checklstring(L, 1, &len);

    luaL_argcheck(L, len == SHA256_BYTES, 1, "no digest");
    lua_pushboolean(L, keys_put_digest(clerk_of(L)->with.keys, (const unsigned char *)digest,
                                       keys_number(luaL_checknumber(L, 2)),
                                       (int64_t)luaL_checknumber(L, 3)));
    return 1;
}

/* digest(text) */
static int keys_digest(lua_State *L)
{
    unsigned char digest[SHA256_BYTES];
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);

    sha256((struct slice){text, len}, digest);
    lua_pushlstring(L, (const char *)digest, sizeof digest);
    return 1;
}

/* secret() -> 160 random bits, five to a character */
static int keys_secret(lua_State *L)
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";
    unsigned char bytes[KEY_BYTES];
    char text[KEY_BYTES * 8 / 5];
    unsigned held = 0, bits = 0;
    size_t at = 0;

    if (getrandom(bytes, sizeof bytes, 0) != sizeof bytes)
        return luaL_error(L, "the system has no random numbers");
    for (size_t i = 0; i < sizeof bytes; i++) {
        held = held << 8 | bytes[i];
        for (bits += 8; bits >= 5; bits -= 5)
            text[at++] = letters[held >> (bits - 5) & 31];
    }
    lua_pushlstring(L, text, at);
    explicit_bzero(bytes, sizeof bytes);
    explicit_bzero(text, sizeof text);
    return 1;
}

/* ---- JSON ---- */

static int json_decode(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);

    return lua_json_decode(L, (struct slice){text, len}, 0, text) ? 1 : 2;
}

static int json_encode(lua_State *L)
{
    struct buf out = {0};

    if (!lua_json_encode(L, 1, &out)) {
        buf_free(&out);
        return lua_error(L);
    }
    lua_pushlstring(L, out.ptr, out.len);
    buf_free(&out);
    return 1;
}

/* array(list): what is [] when it is empty */
static int json_array(lua_State *L)
{
    lua_settop(L, 1);
    luaL_getmetatable(L, "weir.array");
    lua_setmetatable(L, 1);
    return 1;
}

/* ---- the state ---- */

/* require: Weir's own modules alone. */
static int load_module(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);

    for (size_t i = 0; i < embed_count; i++) {
        if (strcmp(embed_files[i].module, name) != 0)
            continue;
        if (luaL_loadbuffer(L, embed_files[i].text, embed_files[i].len, embed_files[i].path))
            return lua_error(L);
        return 1;
    }
    lua_pushfstring(L, "\n\tno module '%s' in the binary", name);
    return 1;
}

static void open_require(lua_State *L)
{
    lua_getglobal(L, "package"); /* [package] */
    lua_newtable(L);
    lua_pushcfunction(L, load_module);
    lua_rawseti(L, -2, 1);
    lua_setfield(L, -2, "loaders");
    lua_pop(L, 1);
}

static void push_host(lua_State *L, struct lua_clerk *clerk)
{
    static const luaL_Reg functions[] = {
        {"array", json_array},
        {"aside", ledger_aside},
        {"breathe", ledger_breathe},
        {"decode", json_decode},
        {"digest", keys_digest},
        {"each", ledger_each},
        {"encode", json_encode},
        {"id", ledger_id},
        {"publish", keys_publish},
        {"publish_digest", keys_publish_digest},
        {"secret", keys_secret},
        {"settle", ledger_settle},
        {NULL, NULL},
    };

    lua_newtable(L);
    lua_pushlightuserdata(L, clerk);
    luaL_setfuncs(L, functions, 1);
    lua_purse_open(L, clerk->with.budget);
    lua_texts_open(L, clerk->with.texts);
    lua_usage_open(L, clerk->with.ledger, clerk->with.keys);
}

static int open_all(lua_State *L)
{
    struct lua_clerk *clerk = lua_touserdata(L, 1);

    lua_setfield(L, LUA_REGISTRYINDEX, CLERK);
    lua_pushlightuserdata(L, clerk);
    luaL_openlibs(L); /* which turns the compiler on */
    /* weir.service forbids memory that becomes code. */
    luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
    lua_json_open(L);
    open_require(L);
    lua_getglobal(L, "require");
    lua_pushliteral(L, "weir.clerk");
    lua_call(L, 1, 1); /* [clerk, function] */
    push_host(L, clerk);
    lua_call(L, 1, 1);
    clerk->module_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    return 0;
}

struct lua_clerk *lua_clerk_new(const struct lua_clerk_settings *settings, struct buf *problem)
{
    struct lua_clerk *clerk = mem_new(sizeof *clerk);

    clerk->with = *settings;
    clerk->L = luaL_newstate();
    if (!clerk->L)
        abort();
    if (lua_cpcall(clerk->L, open_all, clerk) == 0)
        return clerk;
    buf_add_text(problem, lua_tostring(clerk->L, -1) ? lua_tostring(clerk->L, -1) : "?");
    lua_clerk_free(clerk);
    return NULL;
}

void lua_clerk_free(struct lua_clerk *clerk)
{
    if (!clerk)
        return;
    lua_close(clerk->L);
    mem_free(clerk);
}

/* Calls a function of the module, whose arguments are on top. */
static bool call(struct lua_clerk *clerk, const char *name, int args, int results)
{
    lua_State *L = clerk->L;

    lua_rawgeti(L, LUA_REGISTRYINDEX, clerk->module_ref);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
    lua_insert(L, -1 - args);
    if (lua_pcall(L, args, results, 0) == 0)
        return true;
    struct log_line line = log_begin(LOG_ERROR, "clerk_failed");
    log_str(&line, "function", name);
    log_str(&line, "error", lua_tostring(L, -1));
    log_end(&line);
    lua_settop(L, 0);
    return false;
}

bool lua_clerk_load(struct lua_clerk *clerk, bool is_again)
{
    lua_pushboolean(clerk->L, is_again);
    return call(clerk, "load", 1, 0);
}

void lua_clerk_turn(struct lua_clerk *clerk)
{
    call(clerk, "turn", 0, 0);
}

/* Every so many instructions of an answer's making, about a millisecond. */
static void on_count(lua_State *L, lua_Debug *debug)
{
    (void)debug;
    lua_getfield(L, LUA_REGISTRYINDEX, CLERK);
    struct lua_clerk *clerk = lua_touserdata(L, -1);
    lua_pop(L, 1);
    clerk->with.breathe(clerk->with.arg);
}

/* Who only asks waits while rows are written; a change is made in one go. */
static void set_reading(struct lua_clerk *clerk, bool is_reading)
{
    clerk->is_reading = is_reading;
    lua_sethook(clerk->L, is_reading ? on_count : NULL, is_reading ? LUA_MASKCOUNT : 0, HOOK_COUNT);
}

bool lua_clerk_answer(struct lua_clerk *clerk, struct slice request, struct buf *out)
{
    size_t len;

    lua_pushlstring(clerk->L, request.ptr, request.len);
    set_reading(clerk, request.len > 4 && memcmp(request.ptr, "GET ", 4) == 0);
    bool is_made = call(clerk, "answer", 1, 1);
    set_reading(clerk, false);
    if (!is_made)
        return false;
    const char *text = lua_tolstring(clerk->L, -1, &len);
    buf_add(out, (struct slice){text, len});
    lua_settop(clerk->L, 0);
    return true;
}
