/* lua_json.c -- JSON to Lua values and back.
 *
 * cJSON builds the tree; the strict scanner walks the same text beside it, so
 * that every table's place in the text is known.  A request's own bytes are
 * never printed from here: what was not changed leaves as it came.
 *
 * null is a light userdata (weir.json.null); a decoded array has the metatable
 * "weir.array", so that an empty one stays an array. */
/* SPDX-License-Identifier: MIT */
#include "leaves/mem.h"
#include "lua_core.h"
#include "parsers/json.h"
#include <cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const char ARRAY[] = "weir.array";

enum { ENCODE_DEPTH = 100, ENCODE_MAX = 64 * 1024 * 1024 /* bytes */ };

/* ---- decoding ---- */

struct decoder {
    lua_State *L;
    struct json scan; /* at the same place as the cJSON node at hand */
    int spans;
    const char *origin;
};

static void push_node(struct decoder *d, const cJSON *node);

static void keep_span(struct decoder *d, const char *begin)
{
    if (!d->spans)
        return;
    lua_pushvalue(d->L, -1);
    lua_pushnumber(d->L, (double)(begin - d->origin) * 134217728.0 + (double)(d->scan.ptr - begin));
    lua_rawset(d->L, d->spans);
}

static void push_array(struct decoder *d, const cJSON *node)
{
    int i = 1;

    lua_newtable(d->L);
    luaL_getmetatable(d->L, ARRAY);
    lua_setmetatable(d->L, -2);
    json_peek(&d->scan);
    const char *begin = d->scan.ptr;
    json_enter_array(&d->scan);
    for (const cJSON *item = node->child; json_next_element(&d->scan); item = item->next) {
        push_node(d, item);
        lua_rawseti(d->L, -2, i++);
    }
    keep_span(d, begin);
}

static void push_object(struct decoder *d, const cJSON *node)
{
    struct slice name;

    lua_newtable(d->L);
    json_peek(&d->scan);
    const char *begin = d->scan.ptr;
    json_enter_object(&d->scan);
    for (const cJSON *item = node->child; json_next_member(&d->scan, &name); item = item->next) {
        lua_pushstring(d->L, item->string);
        push_node(d, item);
        lua_rawset(d->L, -3);
    }
    keep_span(d, begin);
}

static void push_node(struct decoder *d, const cJSON *node)
{
    luaL_checkstack(d->L, 8, "JSON is nested too deeply");
    if (cJSON_IsArray(node)) {
        push_array(d, node);
        return;
    }
    if (cJSON_IsObject(node)) {
        push_object(d, node);
        return;
    }
    json_skip(&d->scan);
    if (cJSON_IsString(node))
        lua_pushstring(d->L, node->valuestring);
    else if (cJSON_IsNumber(node))
        lua_pushnumber(d->L, node->valuedouble);
    else if (cJSON_IsBool(node))
        lua_pushboolean(d->L, cJSON_IsTrue(node));
    else
        lua_pushlightuserdata(d->L, NULL);
}

static bool fail(lua_State *L, const char *message)
{
    lua_pushnil(L);
    lua_pushstring(L, message);
    return false;
}

bool lua_json_decode(lua_State *L, struct slice text, int spans, const char *origin)
{
    size_t at;
    enum err err = json_check(text, &at);

    if (err) {
        lua_pushnil(L);
        lua_pushfstring(L, "not JSON at byte %d (%s)", (int)at, err_name(err));
        return false;
    }
    if (memmem(text.ptr, text.len, "\\u0000", 6))
        return fail(L, "a string holds \\u0000, which Lua policies cannot read");
    cJSON *root = cJSON_ParseWithLength(text.ptr, text.len);
    if (!root)
        return fail(L, "a string holds a lone surrogate, which Lua policies cannot read");

    struct decoder d = {L, json_init(text), spans, origin};
    push_node(&d, root);
    cJSON_Delete(root);
    return true;
}

/* ---- encoding ---- */

bool lua_json_is_array(lua_State *L, int index)
{
    bool marked = false;

    if (lua_getmetatable(L, index)) {
        luaL_getmetatable(L, ARRAY);
        marked = lua_rawequal(L, -1, -2);
        lua_pop(L, 2);
    }
    return marked || lua_objlen(L, index) > 0;
}

/* The shortest text that reads back as the same number. */
void lua_json_add_number(struct buf *out, double number)
{
    char text[32];

    if (number == floor(number) && fabs(number) < 1e15 && !(number == 0 && signbit(number))) {
        if (number < 0)
            buf_add_char(out, '-');
        buf_add(out,
                slice_number(text, (uint64_t)fabs(number), 10)); /* a tenth of snprintf's cost */
        return;
    }
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    buf_add_text(out, text);
}

static bool encode(lua_State *L, int index, struct buf *out, int depth);

static bool encode_array(lua_State *L, int index, struct buf *out, int depth)
{
    size_t count = lua_objlen(L, index);

    buf_add_char(out, '[');
    for (size_t i = 1; i <= count; i++) {
        if (i > 1)
            buf_add_char(out, ',');
        lua_rawgeti(L, index, (int)i);
        if (!encode(L, lua_gettop(L), out, depth + 1))
            return false;
        lua_pop(L, 1);
    }
    buf_add_char(out, ']');
    return true;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

const char **lua_json_names(lua_State *L, int index, size_t *count)
{
    const char **names = NULL;
    size_t room = 0;

    *count = 0;
    lua_pushnil(L);
    while (lua_next(L, index)) {
        lua_pop(L, 1);
        if (lua_type(L, -1) != LUA_TSTRING) {
            mem_free(names);
            lua_pop(L, 1);
            return NULL;
        }
        if (*count == room) {
            room = room ? room * 2 : 8;
            names = mem_resize(names, room * sizeof *names);
        }
        names[(*count)++] = lua_tostring(L, -1);
    }
    if (!names)
        names = mem_resize(NULL, sizeof *names);
    qsort(names, *count, sizeof *names, compare_names);
    return names;
}

static bool encode_object(lua_State *L, int index, struct buf *out, int depth)
{
    size_t count;
    const char **names = lua_json_names(L, index, &count);
    bool ok = true;

    if (!names) {
        lua_pushliteral(L, "a table that is no list has a key that is no string");
        return false;
    }
    buf_add_char(out, '{');
    for (size_t i = 0; i < count && ok; i++) {
        if (i)
            buf_add_char(out, ',');
        json_quote(out, slice_of(names[i]));
        buf_add_char(out, ':');
        lua_pushstring(L, names[i]);
        lua_rawget(L, index);
        ok = encode(L, lua_gettop(L), out, depth + 1);
        if (ok)
            lua_pop(L, 1);
    }
    buf_add_char(out, '}');
    mem_free(names);
    return ok;
}

static bool encode(lua_State *L, int index, struct buf *out, int depth)
{
    size_t len;
    const char *text;

    luaL_checkstack(L, 8, "a table is nested too deeply");
    if (lua_guard_is_over || out->len > ENCODE_MAX) {
        /* A table may hold another many times over, which does so too: 2^100 from 100 tables. */
        lua_pushliteral(L, "the text is longer than 64 MiB, or took too long");
        return false;
    }
    switch (lua_type(L, index)) {
    case LUA_TNIL: buf_add_text(out, "null"); return true;
    case LUA_TBOOLEAN: buf_add_text(out, lua_toboolean(L, index) ? "true" : "false"); return true;
    case LUA_TNUMBER:
        if (!isfinite(lua_tonumber(L, index))) {
            lua_pushliteral(L, "a number is not finite");
            return false;
        }
        lua_json_add_number(out, lua_tonumber(L, index));
        return true;
    case LUA_TSTRING:
        text = lua_tolstring(L, index, &len);
        json_quote(out, (struct slice){text, len});
        return true;
    case LUA_TLIGHTUSERDATA:
        if (!lua_touserdata(L, index)) {
            buf_add_text(out, "null");
            return true;
        }
        break;
    case LUA_TTABLE:
        if (depth > ENCODE_DEPTH) {
            lua_pushliteral(L, "a table is nested too deeply, or holds itself");
            return false;
        }
        return lua_json_is_array(L, index) ? encode_array(L, index, out, depth)
                                           : encode_object(L, index, out, depth);
    default: break;
    }
    lua_pushfstring(L, "a %s cannot be JSON", luaL_typename(L, index));
    return false;
}

bool lua_json_encode(lua_State *L, int index, struct buf *out)
{
    int top = lua_gettop(L);

    if (encode(L, index, out, 0))
        return true;
    lua_insert(L, top + 1);
    lua_settop(L, top + 1);
    return false;
}

void lua_json_open(lua_State *L)
{
    luaL_newmetatable(L, ARRAY);
    lua_pop(L, 1);
}
