/* lua_purse.c -- purses as tables, and the calendar that their windows are of. */
/* SPDX-License-Identifier: MIT */
#include "lua_purse.h"
#include "accounts/budget.h"
#include "accounts/keys.h"
#include "leaves/loop.h"
#include "leaves/period.h"
#include "policy/lua_core.h"
#include <time.h>

static struct budget *budget_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static int32_t account_at(lua_State *L, int at)
{
    return keys_number(luaL_checknumber(L, at));
}

static int64_t now_s(void)
{
    return (int64_t)loop_wall_seconds();
}

/* purse(id) -> { spent, reserved, inflight, starts, renews, total } */
static int budget_purse_of(lua_State *L)
{
    int32_t number = account_at(L, 1);
    struct budget_purse purse = budget_look(budget_of(L), number, now_s());
    const struct {
        const char *name;
        int64_t number;
    } members[] = {
        {"spent", purse.spent},     {"reserved", purse.reserved}, {"inflight", purse.inflight},
        {"starts", purse.starts_s}, {"renews", purse.renews_s},   {"total", purse.total},
    };

    lua_createtable(L, 0, 6);
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        lua_pushnumber(L, (double)members[i].number);
        lua_setfield(L, -2, members[i].name);
    }
    return 1;
}

/* total(id) -> spent since the memory was made */
static int budget_total(lua_State *L)
{
    lua_pushnumber(L, (double)budget_look(budget_of(L), account_at(L, 1), now_s()).total);
    return 1;
}

/* set_purse(id, { total, spent, starts, renews, next }) -> false: something was spent meanwhile */
static int budget_set_purse(lua_State *L)
{
    int32_t number = account_at(L, 1);

    lua_remove(L, 1);
    struct budget_purse purse = {
        .total = (int64_t)lua_number_in(L, 1, "total", 0),
        .spent = (int64_t)lua_number_in(L, 1, "spent", 0),
        .starts_s = (int64_t)lua_number_in(L, 1, "starts", 0),
        .renews_s = (int64_t)lua_number_in(L, 1, "renews", 0),
        .next_s = (int64_t)lua_number_in(L, 1, "next", 0),
    };
    lua_pushboolean(L, budget_set(budget_of(L), number, &purse));
    return 1;
}

/* arm(id): what was told of its budget is told again */
static int budget_arm_purse(lua_State *L)
{
    budget_arm(budget_of(L), account_at(L, 1));
    return 0;
}

/* renew(id, starts, renews, next) -> false: another window runs there */
static int budget_renew_purse(lua_State *L)
{
    struct budget_purse window = {.starts_s = (int64_t)luaL_checknumber(L, 2),
                                  .renews_s = (int64_t)luaL_checknumber(L, 3),
                                  .next_s = (int64_t)luaL_checknumber(L, 4)};

    lua_pushboolean(L, budget_renew(budget_of(L), account_at(L, 1), &window, now_s()));
    return 1;
}

/* ---- the clock ---- */

/* window(period, time) -> when it began, when it ends, when the next one ends: in TZ */
static int clock_window(lua_State *L)
{
    const char *period = luaL_checkstring(L, 1);
    bool is_endless = strcmp(period, "total") == 0;
    int64_t at = (int64_t)luaL_checknumber(L, 2);

    for (int later = 0; later < 3; later++)
        lua_pushnumber(L, is_endless ? 0 : (double)period_start(period, at, later));
    return 3;
}

/* date(format, time): in TZ */
static int clock_date(lua_State *L)
{
    time_t at = (time_t)luaL_checknumber(L, 2);
    struct tm tm;
    char text[64];

    localtime_r(&at, &tm);
    lua_pushlstring(L, text, strftime(text, sizeof text, luaL_checkstring(L, 1), &tm));
    return 1;
}

static int clock_now(lua_State *L)
{
    lua_pushnumber(L, loop_wall_seconds());
    return 1;
}

void lua_purse_open(lua_State *L, struct budget *budget)
{
    static const luaL_Reg functions[] = {
        {"arm", budget_arm_purse},  {"date", clock_date},          {"now", clock_now},
        {"purse", budget_purse_of}, {"renew", budget_renew_purse}, {"set_purse", budget_set_purse},
        {"total", budget_total},    {"window", clock_window},      {NULL, NULL},
    };

    lua_pushlightuserdata(L, budget);
    luaL_setfuncs(L, functions, 1);
}
