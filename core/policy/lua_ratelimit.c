/* lua_ratelimit.c -- the headers that tell a client of limits, for the head of an answer.
 *
 * Every provider's names for them hold this word. */
/* SPDX-License-Identifier: MIT */
#include "leaves/log.h"
#include "leaves/loop.h"
#include "lua_core.h"
#include "parsers/head.h"
#include <string.h>

static const char WORD[] = "ratelimit";

struct collector {
    struct buf *head; /* where they go as they are; NULL: into a table on top of L */
    lua_State *L;
    int count;
};

static void visit_header(void *arg, struct slice name, struct slice value)
{
    struct collector *collector = arg;

    if (!memmem(name.ptr, name.len, WORD, sizeof WORD - 1))
        return;
    if (collector->head) {
        head_add_checked(collector->head, name, value);
        return;
    }
    if (collector->count++ == 0)
        lua_newtable(collector->L);
    lua_pushlstring(collector->L, name.ptr, name.len);
    lua_pushlstring(collector->L, value.ptr, value.len);
    lua_rawset(collector->L, -3);
}

/* [names and values, in turn] */
static void add_pairs(lua_State *L, struct buf *head)
{
    int count = (int)lua_objlen(L, -1);

    for (int i = 1; i < count; i += 2) {
        lua_rawgeti(L, -1, i);
        lua_rawgeti(L, -2, i + 1); /* [list, name, value] */
        head_add(head, lua_tostring(L, -2), slice_of(lua_tostring(L, -1)));
        lua_pop(L, 2);
    }
}

/* [headers] */
static void synthesize(lua_State *L, const struct provider *provider, struct buf *head)
{
    lua_push_runtime(L, "ratelimit");
    lua_rawgeti(L, LUA_REGISTRYINDEX, provider->settings_ref);
    lua_pushvalue(L, -3);
    lua_pushnumber(L, loop_wall_seconds());
    if (lua_call_traced(L, 3, 1) == 0) {
        add_pairs(L, head);
        return;
    }
    struct log_line line = log_begin(LOG_ERROR, "ratelimit_headers_failed");
    log_str(&line, "error", lua_tostring(L, -1));
    log_end(&line);
}

void policy_add_ratelimit(struct policy *policy, const struct provider *provider, void *attempt,
                          struct buf *head)
{
    enum ratelimit_headers mode = policy->generation->config.ratelimit_headers;
    lua_State *L = policy->generation->L;
    int top = lua_gettop(L);
    struct collector collector = {.head = mode == RATELIMIT_FORWARD ? head : NULL, .L = L};

    if (mode == RATELIMIT_STRIP || !lua_checkstack(L, 8))
        return;
    policy->host->headers(policy->host_arg, attempt, visit_header, &collector);
    if (collector.count)
        synthesize(L, provider, head);
    lua_settop(L, top);
}
