/* lua_usage.c -- sums become tables, one call a row. */
/* SPDX-License-Identifier: MIT */
#include "lua_usage.h"
#include "accounts/keys.h"
#include "ledger.h"
#include "policy/lua_core.h"
#include "usage.h"
#include <math.h>

static const double MAX_TIME = 1e15; /* seconds; math.huge is no number of quarters */

enum { FIRST_BY = 5 /* of sums' arguments */ };

static const char *const names[] = {"key", "team", "model", "target", "day", NULL};

/* A table may stand before them: whose alone. */
static unsigned check_by(lua_State *L)
{
    unsigned by = 0;

    for (int at = FIRST_BY + lua_istable(L, FIRST_BY); at <= lua_gettop(L); at++)
        by |= 1u << luaL_checkoption(L, at, NULL, names); /* in the order of enum usage_by */
    return by;
}

static void set_number(lua_State *L, const char *name, int64_t number)
{
    lua_pushnumber(L, (double)number);
    lua_setfield(L, -2, name);
}

static void push_sum(lua_State *L, const struct sum *sum, unsigned by)
{
    static const char *const counts[SUMS_COUNTS] = {"requests",  "errors",     "attempts",
                                                    "prompt",    "completion", "cached",
                                                    "reasoning", "cost",       "estimated"};

    lua_createtable(L, 0, SUMS_COUNTS + 5);
    if (by & USAGE_KEY)
        set_number(L, "key", sum->account);
    if (by & USAGE_TEAM)
        set_number(L, "team", sum->team);
    if (by & USAGE_DAY)
        set_number(L, "day", sum->quarter * 900);
    if (by & USAGE_MODEL) {
        lua_pushstring(L, sum->model);
        lua_setfield(L, -2, "model");
    }
    if (by & USAGE_TARGET) {
        lua_pushstring(L, sum->target);
        lua_setfield(L, -2, "target");
    }
    for (int i = 0; i < SUMS_COUNTS; i++)
        set_number(L, counts[i], sum->counts[i]);
}

/* give_all(function(row), sums, by) */
static int give_all(lua_State *L)
{
    const struct sums *sums = lua_touserdata(L, 2);
    unsigned by = (unsigned)lua_tonumber(L, 3);

    for (size_t i = 0; i < sums_len(sums); i++) {
        lua_pushvalue(L, 1);
        push_sum(L, sums_at(sums, i), by);
        lua_call(L, 1, 0);
    }
    return 0;
}

/* What is at that name of the table; it stays on the stack, which keeps texts. */
static void set_only(lua_State *L, struct usage_question *question)
{
    lua_getfield(L, FIRST_BY, "key");
    question->key = (int32_t)luaL_optnumber(L, -1, -1);
    lua_getfield(L, FIRST_BY, "team");
    question->team = (int32_t)luaL_optnumber(L, -1, -1);
    lua_getfield(L, FIRST_BY, "model");
    question->model = luaL_optstring(L, -1, NULL);
    lua_getfield(L, FIRST_BY, "target");
    question->target = luaL_optstring(L, -1, NULL);
}

/* sums(function(row), of_days, since_s, until_s [, { key, team, model, target }], by …) */
static int usage_sums(lua_State *L)
{
    struct ledger *ledger = lua_touserdata(L, lua_upvalueindex(1));
    double ends_s = luaL_checknumber(L, 4);
    struct usage_question question = {
        .by = check_by(L),
        .of_days = lua_toboolean(L, 2),
        .quarter = (int64_t)(luaL_checknumber(L, 3) / 900),
        .ends = ends_s < MAX_TIME ? (int64_t)ceil(ends_s / 900) : INT64_MAX,
        .key = -1,
        .team = -1,
    };
    if (lua_istable(L, FIRST_BY))
        set_only(L, &question);
    struct sums *sums = usage_new(ledger, &question);

    if (!sums) {
        lua_pushfstring(L, "ledger: %s", ledger_problem(ledger)); /* 503 */
        return lua_error(L);
    }
    lua_pushcfunction(L, give_all);
    lua_pushvalue(L, 1);
    lua_pushlightuserdata(L, sums);
    lua_pushnumber(L, question.by);
    int status = lua_pcall(L, 3, 0, 0); /* whatever it raises, the sums go */
    sums_free(sums);
    return status ? lua_error(L) : 0;
}

/* name(id) */
static int usage_name(lua_State *L)
{
    struct keys_account account;

    if (!keys_get(lua_touserdata(L, lua_upvalueindex(2)), keys_number(luaL_checknumber(L, 1)),
                  &account))
        return 0;
    lua_pushstring(L, account.name);
    return 1;
}

void lua_usage_open(lua_State *L, struct ledger *ledger, struct keys *keys)
{
    static const luaL_Reg functions[] = {{"name", usage_name}, {"sums", usage_sums}, {NULL, NULL}};

    lua_pushlightuserdata(L, ledger);
    lua_pushlightuserdata(L, keys);
    luaL_setfuncs(L, functions, 2);
}
