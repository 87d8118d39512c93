/* lua_texts.c -- functions of lua_clerk.c's table: what is stored of requests. */
/* SPDX-License-Identifier: MIT */
#include "lua_texts.h"
#include "clerk_texts.h"
#include "policy/lua_core.h"

static struct clerk_texts *texts_of(lua_State *L)
{
    return lua_touserdata(L, lua_upvalueindex(1));
}

static void set_number(lua_State *L, const char *name, double number)
{
    lua_pushnumber(L, number);
    lua_setfield(L, -2, name);
}

/* [list] */
static void give_part(void *arg, const struct archive_text *text, const struct archive_part *part)
{
    lua_State *L = arg;

    lua_createtable(L, 0, 8);
    lua_pushstring(L, text->is_answer ? "answer" : "request");
    lua_setfield(L, -2, "side");
    lua_pushstring(L, part->kind);
    lua_setfield(L, -2, "kind");
    lua_pushlstring(L, part->text.ptr ? part->text.ptr : "", part->text.len);
    lua_setfield(L, -2, "text");
    set_number(L, "account", text->account);
    set_number(L, "time", (double)text->time_us / 1e6);
    set_number(L, "ends", (double)text->ends_us / 1e6);
    set_number(L, "choice", part->choice);
    set_number(L, "bytes", (double)part->bytes);
    lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
}

/* texts(request) -> its parts, the request's first */
static int texts_list(lua_State *L)
{
    struct slice request;

    request.ptr = luaL_checklstring(L, 1, &request.len);
    lua_newtable(L);
    if (!clerk_texts_each(texts_of(L), request, give_part, L)) {
        lua_pushfstring(L, "ledger: %s", "the stored texts cannot be read"); /* 503 */
        return lua_error(L);
    }
    return 1;
}

/* texts_allowed() -> the seconds for which keys may have them kept; 0: they may not */
static int texts_allowed(lua_State *L)
{
    lua_pushnumber(L, (double)clerk_texts_allowed(texts_of(L)));
    return 1;
}

/* shorten_texts(account, seconds) -> false: it cannot be now */
static int texts_shorten(lua_State *L)
{
    lua_pushboolean(L, clerk_texts_shorten(texts_of(L), (int32_t)luaL_checknumber(L, 1),
                                           (int64_t)luaL_checknumber(L, 2)));
    return 1;
}

void lua_texts_open(lua_State *L, struct clerk_texts *texts)
{
    static const luaL_Reg functions[] = {
        {"shorten_texts", texts_shorten},
        {"texts", texts_list},
        {"texts_allowed", texts_allowed},
        {NULL, NULL},
    };

    lua_pushlightuserdata(L, texts);
    luaL_setfuncs(L, functions, 1);
}
