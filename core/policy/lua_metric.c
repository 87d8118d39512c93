/* lua_metric.c -- weir.metric(name, value, labels): a policy's own counters. */
/* SPDX-License-Identifier: MIT */
#include "leaves/log.h"
#include "leaves/mem.h"
#include "limits/limit.h"
#include "lua_core.h"
#include "metrics/metrics.h"
#include <math.h>

enum { METRIC_NAME_MAX = 64, LABELS_MAX = 8, LABEL_NAME_MAX = 32 };

/* Lower-case letters, digits and _, a letter first. */
static bool is_name(const char *text, size_t max)
{
    size_t len = strlen(text);

    return len > 0 && len <= max && text[0] >= 'a' && text[0] <= 'z' &&
           strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

static const char *check_name(lua_State *L)
{
    const char *name = luaL_checkstring(L, 1);
    size_t len = strlen(name);

    if (!is_name(name, METRIC_NAME_MAX))
        luaL_error(L,
                   "bad argument #1 to weir.metric: a name has lower-case letters, digits and _, "
                   "64 at most");
    if (len >= 6 && strcmp(name + len - 6, "_total") == 0)
        luaL_error(L, "bad argument #1 to weir.metric: leave _total out, it is added");
    if (strcmp(name, "errors") == 0) /* weir_policy_errors_total is the gateway's */
        luaL_error(L, "bad argument #1 to weir.metric: errors is the gateway's own, see "
                      "GET /metrics; take another name");
    return name;
}

static double check_value(lua_State *L)
{
    double value = luaL_optnumber(L, 2, 1);

    if (!(value >= 0 && isfinite(value)))
        luaL_error(L, "bad argument #2 to weir.metric: a counter grows, by 0 or more");
    return value;
}

/* What is wrong with the labels at index 3, or NULL. */
static const char *fault_of(lua_State *L, const char *const *names, size_t count)
{
    if (!names)
        return "labels are named";
    if (count > LABELS_MAX)
        return "8 labels at most";
    for (size_t i = 0; i < count; i++) {
        lua_getfield(L, 3, names[i]);
        int type = lua_type(L, -1);
        lua_pop(L, 1);
        if (!is_name(names[i], LABEL_NAME_MAX))
            return "a label's name has lower-case letters, digits and _, 32 at most";
        if (type != LUA_TSTRING && type != LUA_TNUMBER && type != LUA_TBOOLEAN)
            return "a label's value is a string, a number or a boolean";
    }
    return NULL;
}

/* What looks like a credential is masked: monitoring is read by many. */
static void add_label(lua_State *L, struct buf *series, const char *name)
{
    struct buf masked = {0};
    size_t len;

    lua_getfield(L, 3, name);
    if (lua_isboolean(L, -1))
        lua_pushstring(L, lua_toboolean(L, -1) ? "true" : "false");
    const char *text = lua_tolstring(L, -1, &len);
    log_redact(&masked, (struct slice){text, len});
    metrics_add_label(series, slice_of(name), buf_slice(&masked));
    buf_free(&masked);
    lua_settop(L, 3);
}

/* (name, value or 1, labels or nil) */
int lua_metric_add(lua_State *L)
{
    const char *name = check_name(L), *fault = NULL;
    double value = check_value(L);
    struct buf series = {0};
    size_t count = 0;

    lua_settop(L, 3);
    buf_add_format(&series, "weir_policy_%s_total", name);
    if (!lua_isnil(L, 3)) {
        const char **names = lua_json_names(L, 3, &count);
        fault = fault_of(L, names, count);
        for (size_t i = 0; i < count && !fault; i++)
            add_label(L, &series, names[i]);
        buf_add_text(&series, count ? "}" : "");
        mem_free(names);
    }
    if (!fault)
        metrics_add(limits_metrics(lua_generation(L)->limits), buf_slice(&series), value);
    buf_free(&series);
    if (fault)
        return luaL_error(L, "bad argument #3 to weir.metric: %s", fault);
    return 0;
}
