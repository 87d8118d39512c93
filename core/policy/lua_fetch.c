/* lua_fetch.c -- weir.fetch's way to the world; lua/weir/fetch.lua checks and words it. */
/* SPDX-License-Identifier: MIT */
#include "leaves/mem.h"
#include "lua_core.h"
#include "provider/fetch.h"
#include "provider/upstream.h"
#include "secret.h"

enum {
    HEADERS_MAX = 64,
    LINES_ROOM = 16 * 1024, /* seldom outgrown: that would leave a secret behind */
};

static const char *const methods[] = {"GET", "POST", "PUT", "PATCH", "DELETE", NULL};

static const struct fetch_host *allowed(lua_State *L, const char *base)
{
    const struct config *config = &lua_generation(L)->config;

    for (size_t i = 0; i < config->fetch_count; i++)
        if (strcmp(config->fetch[i].base, base) == 0)
            return &config->fetch[i];
    return NULL;
}

/* Adds "name: prefix value" for the header { name, value, prefix } on top; value may be a secret.
 */
static void add_header(lua_State *L, struct buf *lines)
{
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 3);
    lua_rawgeti(L, -3, 2);
    struct secret *secret = lua_weir_secret(L, -1);
    const char *prefix = lua_tostring(L, -2), *value = secret ? NULL : lua_tostring(L, -1);

    buf_add_format(lines, "%s: %s", lua_tostring(L, -3), prefix ? prefix : "");
    if (secret)
        buf_add(lines, secret_text(secret));
    else
        buf_add_text(lines, value ? value : "");
    buf_add_char(lines, '\0');
    lua_pop(L, 3);
}

/* The headers of the list at index, one behind the other, each ended by a zero byte. */
static size_t read_headers(lua_State *L, int index, struct buf *lines)
{
    size_t count = lua_objlen(L, index);

    buf_reserve(lines, LINES_ROOM);
    for (size_t i = 0; i < count && i < HEADERS_MAX; i++) {
        lua_rawgeti(L, index, (int)i + 1);
        add_header(L, lines);
        lua_pop(L, 1);
    }
    return count < HEADERS_MAX ? count : HEADERS_MAX;
}

/* fetch(base, path, method, headers, body, seconds, max) yields; then fetched() tells. */
int lua_fetch_start(lua_State *L)
{
    const char *base = luaL_checkstring(L, 1);
    const struct fetch_host *host = allowed(L, base);

    if (!host)
        return luaL_error(L, "weir.fetch: %s is not among policy.fetch in weir.lua", base);
    struct policy *policy = lua_may_wait(L, "weir.fetch");
    struct fetch_request request = {
        .base = base,
        .path = luaL_checkstring(L, 2),
        .method = methods[luaL_checkoption(L, 3, "GET", methods)],
        .timeout_ms = (int64_t)(luaL_checknumber(L, 6) * 1000),
        .max = (size_t)luaL_checknumber(L, 7),
        .public_only = !host->is_private,
    };
    request.body.ptr = luaL_checklstring(L, 5, &request.body.len);
    luaL_checktype(L, 4, LUA_TTABLE);

    const char *list[HEADERS_MAX];
    struct buf lines = {0};
    request.header_count = read_headers(L, 4, &lines);
    const char *line = lines.ptr;
    for (size_t i = 0; i < request.header_count; i++, line += strlen(line) + 1)
        list[i] = line;
    request.headers = list;
    bool began = policy->host->on_fetch(policy->host_arg, &request);
    if (lines.capacity)
        explicit_bzero(lines.base, lines.capacity); /* a secret may be in it */
    buf_free(&lines);
    if (!began)
        return luaL_error(L, "weir.fetch: the address cannot be read");
    if (policy->state == POLICY_RUNNING)
        policy->state = POLICY_SLEEPING;
    return lua_yield(L, 0);
}

static void push_headers(lua_State *L, const struct transfer *transfer)
{
    struct slice name, value;
    size_t at = 0;

    lua_newtable(L);
    while (transfer && upstream_next_header(transfer, &at, &name, &value)) {
        lua_pushlstring(L, name.ptr, name.len);
        lua_pushlstring(L, value.ptr, value.len);
        lua_rawset(L, -3);
    }
}

/* fetched() -> status, headers, body, or nil, code, message: of the fetch that ended */
int lua_fetch_result(lua_State *L)
{
    struct policy *policy = lua_generation(L)->running;
    struct fetch_result result = {.err = ERR_CANCELLED, .message = "the request is over"};

    if (policy)
        policy->host->fetched(policy->host_arg, &result);
    if (result.err) {
        lua_pushnil(L);
        lua_pushstring(L, err_name(result.err));
        lua_pushstring(L, result.message ? result.message : "");
        return 3;
    }
    lua_pushinteger(L, result.status);
    push_headers(L, result.transfer);
    lua_pushlstring(L, result.body.ptr ? result.body.ptr : "", result.body.len);
    return 3;
}
