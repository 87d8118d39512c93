/* lua_request.c -- req: what a policy sees of the request; lua_send.c has what it does with it.
 *
 * The userdata borrows the policy; policy_free clears it. */
/* SPDX-License-Identifier: MIT */
#include "lua_core.h"
#include <strings.h>

static const char REQUEST[] = "weir.Request";

struct policy *lua_request_check(lua_State *L)
{
    struct policy **slot = luaL_checkudata(L, 1, REQUEST);
    luaL_argcheck(L, *slot, 1, "this request is over");
    return *slot;
}

struct policy *lua_request_check_running(lua_State *L, const char *what)
{
    struct policy *policy = lua_request_check(L);

    if (policy->state != POLICY_RUNNING || policy->co != L)
        luaL_error(L, "%s may only be called by the policy of this request, while it runs", what);
    return policy;
}

struct policy *lua_request_check_waiting(lua_State *L, const char *what)
{
    struct policy *policy = lua_request_check_running(L, what);

    if (!lua_isyieldable(L)) /* asked first: the work would go on when the yield failed */
        luaL_error(L, "%s cannot wait inside a function that C calls (a sort's, a gsub's, an edit)",
                   what);
    return policy;
}

/* ---- an answer of the gateway's own ---- */

/* req:reply(status, body) -> what a policy returns to answer itself */
static int request_reply(lua_State *L)
{
    struct policy *policy = lua_request_check(L);
    lua_Integer status = luaL_checkinteger(L, 2);

    luaL_argcheck(L, status >= 200 && status <= 599 && status != 204 && status != 205, 2,
                  "a status from 200 to 599 that has a body");
    luaL_argcheck(L, lua_istable(L, 3) || lua_type(L, 3) == LUA_TSTRING, 3, "text or a table");
    lua_push_runtime(L, "reply");
    lua_createtable(L, 0, 5);
    lua_pushstring(L, policy->request->id);
    lua_setfield(L, -2, "id");
    lua_pushinteger(L, policy->request->endpoint);
    lua_setfield(L, -2, "endpoint");
    lua_pushlstring(L, policy->request->model.ptr, policy->request->model.len);
    lua_setfield(L, -2, "model");
    lua_pushboolean(L, policy->request->stream);
    lua_setfield(L, -2, "stream");
    lua_pushvalue(L, 2);
    lua_pushvalue(L, 3); /* [reply, request, status, body] */
    lua_call(L, 3, 1);
    return 1;
}

/* ---- fields ---- */

static bool is_credential(const char *name)
{
    static const char *const names[] = {"authorization", "x-api-key",           "api-key",
                                        "cookie",        "proxy-authorization", "x-goog-api-key"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

static void visit_header(void *arg, const char *name, const char *value)
{
    lua_State *L = arg;
    char lower[128];
    size_t i = 0;

    if (is_credential(name))
        return;
    for (; name[i] && i + 1 < sizeof lower; i++)
        lower[i] = (name[i] >= 'A' && name[i] <= 'Z') ? (char)(name[i] + 32) : name[i];
    lua_pushlstring(L, lower, i);
    lua_pushstring(L, value);
    lua_rawset(L, -3);
}

static int refuse_write(lua_State *L)
{
    return luaL_error(L, "this table cannot be written");
}

/* Upvalue 1: what the proxy stands for. */
static int proxy_pairs(lua_State *L)
{
    lua_getglobal(L, "next");
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushnil(L);
    return 3;
}

/* Pushes a proxy through which the table on top can be read only; replaces it. */
static void make_read_only(lua_State *L)
{
    lua_newtable(L); /* [table, proxy] */
    lua_newtable(L); /* [table, proxy, mt] */
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, refuse_write);
    lua_setfield(L, -2, "__newindex");
    lua_pushvalue(L, -3);
    lua_pushcclosure(L, proxy_pairs, 1);
    lua_setfield(L, -2, "__pairs");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, -2);
    lua_remove(L, -2);
}

static void push_headers(lua_State *L, const struct policy *policy)
{
    const struct policy_header_source *from = &policy->request->headers;

    lua_newtable(L);
    from->each(from->source, visit_header, L);
    make_read_only(L);
}

/* [key]: "env=prod" and a newline for each label */
static void set_labels(lua_State *L, const char *labels)
{
    lua_newtable(L);
    for (const char *end, *is; (end = strchr(labels, '\n')); labels = end + 1) {
        is = memchr(labels, '=', (size_t)(end - labels));
        if (!is)
            continue;
        lua_pushlstring(L, labels, (size_t)(is - labels));
        lua_pushlstring(L, is + 1, (size_t)(end - is - 1));
        lua_rawset(L, -3);
    }
    make_read_only(L);
    lua_setfield(L, -2, "labels");
}

/* [key] of a ledger */
static void set_account(lua_State *L, const struct bill *bill)
{
    int64_t left = bill_left(bill);

    if (bill_team(bill))
        lua_set_text(L, "team", bill_team(bill));
    set_labels(L, bill_account(bill)->labels);
    if (left < 0)
        return;
    lua_pushnumber(L, (double)left / 1e6);
    lua_setfield(L, -2, "budget_left");
}

static void push_key(lua_State *L, const struct policy *policy)
{
    if (!policy->request->key_name) {
        lua_pushnil(L);
        return;
    }
    lua_createtable(L, 0, 4);
    lua_set_text(L, "name", policy->request->key_name);
    if (policy->request->bill)
        set_account(L, policy->request->bill);
    make_read_only(L);
}

enum field {
    FIELD_BODY,
    FIELD_ENDPOINT,
    FIELD_GENERATION,
    FIELD_HEADERS,
    FIELD_ID,
    FIELD_KEY,
    FIELD_MODEL,
    FIELD_STREAM,
    FIELD_TRAIL,
    FIELD_COUNT
};

static const char *const field_names[FIELD_COUNT] = {
    "body", "endpoint", "generation", "headers", "id", "key", "model", "stream", "trail"};
static const char *const endpoint_names[ENDPOINT_COUNT] = {"chat", "completions", "embeddings"};

static void push_body(lua_State *L, struct policy *policy)
{
    if (policy->body_ref == LUA_NOREF)
        policy->body_ref = lua_body_new(L, policy->request->body);
    lua_body_push(L, policy->body_ref);
}

static void push_field(lua_State *L, struct policy *policy, enum field field)
{
    const struct policy_request *request = policy->request;

    switch (field) {
    case FIELD_BODY: push_body(L, policy); return;
    case FIELD_ENDPOINT: lua_pushstring(L, endpoint_names[request->endpoint]); return;
    case FIELD_GENERATION: lua_pushinteger(L, policy->generation->number); return;
    case FIELD_HEADERS: push_headers(L, policy); return;
    case FIELD_ID: lua_pushstring(L, request->id); return;
    case FIELD_KEY: push_key(L, policy); return;
    case FIELD_MODEL: lua_pushlstring(L, request->model.ptr, request->model.len); return;
    case FIELD_STREAM: lua_pushboolean(L, request->stream); return;
    case FIELD_TRAIL: lua_push_trail(L, policy); return;
    case FIELD_COUNT: break;
    }
    lua_pushnil(L);
}

/* Upvalue 1: methods by name, and fields by name as numbers. */
static int request_index(lua_State *L)
{
    struct policy *policy = lua_request_check(L);

    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(1));
    if (lua_type(L, -1) == LUA_TNUMBER)
        push_field(L, policy, (enum field)lua_tointeger(L, -1));
    return 1;
}

static int request_newindex(lua_State *L)
{
    return luaL_error(L, "req.%s cannot be set (change req.body instead)",
                      lua_tostring(L, 2) ? lua_tostring(L, 2) : "?");
}

static int request_gc(lua_State *L)
{
    struct policy **slot = lua_touserdata(L, 1);
    if (*slot)
        (*slot)->request_slot = NULL;
    return 0;
}

void lua_request_open(lua_State *L)
{
    static const luaL_Reg methods[] = {
        {"available", lua_send_available}, {"race", lua_send_race},
        {"reply", request_reply},          {"send", lua_send_one},
        {"shadow", lua_send_shadow},       {NULL, NULL},
    };

    luaL_newmetatable(L, REQUEST); /* [mt] */
    lua_newtable(L);               /* [mt, members] */
    luaL_setfuncs(L, methods, 0);
    for (int i = 0; i < FIELD_COUNT; i++) {
        lua_pushinteger(L, i);
        lua_setfield(L, -2, field_names[i]);
    }
    lua_pushcclosure(L, request_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, request_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushcfunction(L, request_gc);
    lua_setfield(L, -2, "__gc");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}

void lua_request_push(lua_State *L, struct policy *policy)
{
    struct policy **slot = lua_newuserdata(L, sizeof *slot);

    *slot = policy;
    policy->request_slot = slot;
    luaL_getmetatable(L, REQUEST);
    lua_setmetatable(L, -2);
}
