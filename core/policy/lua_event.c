/* lua_event.c -- event: one message of an answer, as a filter sees it.
 *
 * The userdata holds a copy of the event's bytes, so a filter may keep it.
 * Assigning text changes that one string of the message and nothing else:
 *
 *   {"id":"x","choices":[{"delta":{"content":"Hel"}}]}
 *                                             ^^^  replaced, quoted anew
 *
 * Of a plain answer each text is an event of its own, so that a filter treats
 * both alike; the whole answer is its data. */
/* SPDX-License-Identifier: MIT */
#include "leaves/mem.h"
#include "lua_core.h"
#include "parsers/json.h"

static const char EVENT[] = "weir.Event";

struct lua_event {
    enum chunk_kind kind;
    bool is_done;
    bool is_answer; /* a whole plain answer, not an event of a stream */
    bool has_data;
    bool is_text_set; /* the environment's "text" counts */
    int index;
    struct slice raw;         /* into bytes; empty for one that was made here */
    struct slice data;        /* into bytes */
    size_t text_at, text_len; /* the text's inside within data; text_at 0: there is none */
    char bytes[];
};

static struct lua_event *test_event(lua_State *L, int index)
{
    return luaL_testudata(L, index, EVENT);
}

static struct lua_event *check_event(lua_State *L)
{
    return luaL_checkudata(L, 1, EVENT);
}

/* ---- making ---- */

static struct lua_event *push_event(lua_State *L, struct slice raw, struct slice data)
{
    struct lua_event *event = lua_newuserdata(L, sizeof *event + raw.len + data.len);

    memset(event, 0, sizeof *event);
    if (raw.len)
        memcpy(event->bytes, raw.ptr, raw.len);
    if (data.len)
        memcpy(event->bytes + raw.len, data.ptr, data.len);
    event->raw = (struct slice){event->bytes, raw.len};
    event->data = (struct slice){event->bytes + raw.len, data.len};
    luaL_getmetatable(L, EVENT);
    lua_setmetatable(L, -2);
    return event;
}

static void describe(struct lua_event *event, struct slice data, const struct chunk *chunk)
{
    event->kind = chunk->kind;
    event->index = chunk->index;
    event->has_data = true;
    if (chunk->text.ptr) {
        event->text_at = (size_t)(chunk->text.ptr - data.ptr);
        event->text_len = chunk->text.len;
    }
}

void lua_event_push(lua_State *L, const struct sse_event *from, const struct chunk *chunk)
{
    struct lua_event *event = push_event(L, from->raw, from->data);

    event->is_done = from->is_done;
    if (chunk)
        describe(event, from->data, chunk);
}

/* [answer] -> [event]: the answer as a Lua string stays behind event.data. */
void lua_event_push_text(lua_State *L, const struct text_place *place)
{
    struct lua_event *event = push_event(L, (struct slice){NULL, 0}, place->inside);

    event->kind = place->kind;
    event->index = place->index;
    event->is_answer = true;
    lua_newtable(L); /* [answer, event, environment] */
    lua_pushlightuserdata(L, event);
    lua_pushboolean(L, 1);
    lua_rawset(L, -3);
    lua_pushvalue(L, -3);
    lua_setfield(L, -2, "answer");
    lua_setfenv(L, -2);
    lua_remove(L, -2);
}

/* ---- reading ---- */

/* The environment table holds what was set and what was decoded. */
static void push_slot(lua_State *L, const char *name)
{
    lua_getfenv(L, 1);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

static void set_slot(lua_State *L, const char *name) /* [.., value] -> [..] */
{
    lua_getfenv(L, 1);
    lua_pushlightuserdata(L, lua_touserdata(L, 1));
    lua_rawget(L, -2);
    bool own = lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (!own) { /* until now it was the environment that all C functions share */
        lua_pop(L, 1);
        lua_newtable(L);
        lua_pushlightuserdata(L, lua_touserdata(L, 1));
        lua_pushboolean(L, 1);
        lua_rawset(L, -3);
        lua_pushvalue(L, -1);
        lua_setfenv(L, 1);
    }
    lua_insert(L, -2);
    lua_setfield(L, -2, name);
    lua_pop(L, 1);
}

/* Text with half a surrogate pair is no Unicode: the half becomes U+FFFD for who reads it. */
static void mend_surrogates(struct slice inside, struct buf *out)
{
    const char *end = inside.ptr + inside.len;

    for (const char *at = inside.ptr; at < end;) {
        bool is_unit = end - at >= 6 && at[0] == '\\' && at[1] == 'u';
        bool is_half = is_unit && (at[2] | 32) == 'd' && strchr("89abcdefABCDEF", at[3]);
        bool is_high = is_half && strchr("89abAB", at[3]);
        bool is_pair = is_high && end - at >= 12 && at[6] == '\\' && at[7] == 'u' &&
                       (at[8] | 32) == 'd' && strchr("cdefCDEF", at[9]);
        size_t len = is_pair ? 12 : is_unit ? 6 : at[0] == '\\' ? 2 : 1;
        buf_add(out, is_half && !is_pair ? SLICE("\\ufffd") : (struct slice){at, len});
        at += len;
    }
}

static void push_unescaped(lua_State *L, struct slice inside)
{
    struct buf text = {0}, mended = {0};
    enum err err = json_unescape(inside, &text);

    if (err == ERR_UTF8) {
        mend_surrogates(inside, &mended);
        err = json_unescape(buf_slice(&mended), &text);
    }
    if (err)
        lua_pushnil(L); /* \u0000: such a text passes unread */
    else
        lua_pushlstring(L, text.ptr ? text.ptr : "", text.len);
    buf_free(&text);
    buf_free(&mended);
}

static struct slice text_inside(const struct lua_event *event)
{
    if (event->is_answer)
        return event->data;
    return (struct slice){event->data.ptr + event->text_at, event->text_len};
}

static void push_text(lua_State *L, const struct lua_event *event)
{
    if (event->is_text_set)
        push_slot(L, "text");
    else if (event->is_answer || event->text_at)
        push_unescaped(L, text_inside(event));
    else
        lua_pushnil(L);
}

/* What event.data decodes: the event's message, or the whole answer. */
static bool decode(lua_State *L, const struct lua_event *event)
{
    size_t len;

    if (!event->is_answer)
        return lua_json_decode(L, event->data, 0, NULL);
    push_slot(L, "answer");
    const char *answer = lua_tolstring(L, -1, &len);
    bool ok = lua_json_decode(L, (struct slice){answer, len}, 0, NULL);
    lua_remove(L, ok ? -2 : -3);
    return ok;
}

static void push_data(lua_State *L, const struct lua_event *event)
{
    if (!event->has_data && !event->is_answer) {
        lua_pushnil(L);
        return;
    }
    lua_getfenv(L, 1);
    lua_pushlightuserdata(L, lua_touserdata(L, 1));
    lua_rawget(L, -2);
    if (lua_toboolean(L, -1)) {
        lua_getfield(L, -2, "data");
        if (!lua_isnil(L, -1))
            return;
    }
    if (!decode(L, event)) {
        lua_pop(L, 1); /* the message: nil is left */
        return;
    }
    lua_pushvalue(L, -1);
    set_slot(L, "data");
}

static int event_index(lua_State *L)
{
    const struct lua_event *event = check_event(L);
    const char *name = luaL_checkstring(L, 2);

    lua_getfield(L, lua_upvalueindex(1), name);
    if (!lua_isnil(L, -1))
        return 1;
    if (strcmp(name, "kind") == 0)
        lua_pushstring(L, event->is_done ? "done" : chunk_kind_name(event->kind));
    else if (strcmp(name, "text") == 0)
        push_text(L, event);
    else if (strcmp(name, "index") == 0)
        lua_pushinteger(L, event->index);
    else if (strcmp(name, "data") == 0)
        push_data(L, event);
    else if (strcmp(name, "whole") == 0)
        lua_pushboolean(L, event->is_answer);
    else if (strcmp(name, "raw") == 0)
        lua_pushlstring(L, event->raw.len ? event->raw.ptr : event->data.ptr,
                        event->raw.len ? event->raw.len : event->data.len);
    return 1;
}

static int event_newindex(lua_State *L)
{
    struct lua_event *event = check_event(L);
    const char *name = luaL_checkstring(L, 2);

    if (strcmp(name, "text") != 0)
        return luaL_error(L, "event.%s cannot be set, only event.text", name);
    luaL_checktype(L, 3, LUA_TSTRING);
    if (!event->text_at && !event->is_answer)
        return luaL_error(L,
                          "an event of kind '%s' carries no text; make one with event:copy(text)",
                          event->is_done ? "done" : chunk_kind_name(event->kind));
    lua_pushvalue(L, 3);
    set_slot(L, "text");
    event->is_text_set = true;
    return 0;
}

/* ---- copy: a content event like this one, with other text ---- */

static bool is_shared_member(struct slice name)
{
    return !slice_is(name, "choices") && !slice_is(name, "usage") && !slice_is(name, "x_groq");
}

/* {"id":…,"object":…,"model":…,"choices":[{"index":N,"delta":{"content":"text"},…}]} */
static void add_content_chunk(struct buf *out, const struct lua_event *like, struct slice text)
{
    struct json json = json_init(like->data);
    struct slice name;
    bool chat = true;

    buf_add_char(out, '{');
    if (like->has_data && json_enter_object(&json)) {
        while (json_next_member(&json, &name)) {
            struct slice value = json_skip(&json);
            if (slice_is(name, "object") && slice_is(value, "\"text_completion\""))
                chat = false;
            if (!is_shared_member(name))
                continue;
            buf_add_char(out, '"');
            buf_add(out, name);
            buf_add_text(out, "\":");
            buf_add(out, value);
            buf_add_char(out, ',');
        }
    }
    buf_add_format(out, "\"choices\":[{\"index\":%d,", like->index);
    buf_add_text(out, chat ? "\"delta\":{\"content\":" : "\"text\":");
    json_quote(out, text);
    buf_add_text(out, chat ? "},\"finish_reason\":null}]}" : ",\"finish_reason\":null}]}");
}

/* A text of a plain answer: one more piece of the same. */
static int copy_text(lua_State *L, const struct lua_event *event)
{
    struct text_place place = {.kind = event->kind, .index = event->index};

    lua_settop(L, 2); /* [event, text] */
    lua_getfenv(L, 1);
    lua_getfield(L, -1, "answer"); /* [event, text, environment, answer] */
    lua_event_push_text(L, &place);
    lua_replace(L, 1);
    lua_settop(L, 2); /* [copy, text] */
    set_slot(L, "text");
    ((struct lua_event *)lua_touserdata(L, 1))->is_text_set = true;
    return 1;
}

/* event:copy(text) -> event */
static int event_copy(lua_State *L)
{
    const struct lua_event *event = check_event(L);
    size_t len;
    const char *text = luaL_checklstring(L, 2, &len);
    struct buf data = {0};
    struct chunk chunk;

    if (event->is_answer)
        return copy_text(L, event);
    add_content_chunk(&data, event, (struct slice){text, len});
    struct lua_event *copy = push_event(L, (struct slice){NULL, 0}, buf_slice(&data));
    if (chunk_read(copy->data, &chunk) == ERR_OK)
        describe(copy, copy->data, &chunk);
    buf_free(&data);
    return 1;
}

/* ---- writing ---- */

static void add_data_with_text(lua_State *L, int index, const struct lua_event *event,
                               struct buf *out)
{
    size_t len;
    size_t after = event->text_at + event->text_len + 1; /* past the closing quote */

    lua_getfenv(L, index);
    lua_getfield(L, -1, "text");
    const char *text = lua_tolstring(L, -1, &len);
    buf_add(out, (struct slice){event->data.ptr, event->text_at - 1});
    json_quote(out, (struct slice){text, len});
    buf_add(out, (struct slice){event->data.ptr + after, event->data.len - after});
    lua_pop(L, 2);
}

/* The inside of a string of a plain answer: as it came, or what was set. */
static void add_text(lua_State *L, int index, const struct lua_event *event, struct buf *out)
{
    struct buf quoted = {0};
    size_t len;

    if (!event->is_text_set) {
        buf_add(out, event->data);
        return;
    }
    lua_getfenv(L, index);
    lua_getfield(L, -1, "text");
    const char *text = lua_tolstring(L, -1, &len);
    json_quote(&quoted, (struct slice){text, len});
    buf_add(out, (struct slice){quoted.ptr + 1, quoted.len - 2});
    buf_free(&quoted);
    lua_pop(L, 2);
}

/* Each line of a value gets its own "data: ". */
static void add_data_lines(struct buf *out, struct slice data)
{
    while (data.len) {
        const char *end = memchr(data.ptr, '\n', data.len);
        size_t len = end ? (size_t)(end - data.ptr) : data.len;
        buf_add_text(out, "data: ");
        buf_add(out, (struct slice){data.ptr, len});
        buf_add_char(out, '\n');
        data.ptr += len + (end ? 1 : 0);
        data.len -= len + (end ? 1 : 0);
    }
    buf_add_char(out, '\n');
}

bool lua_event_render(lua_State *L, int index, struct buf *out)
{
    const struct lua_event *event = test_event(L, index);
    struct buf data = {0};

    if (!event)
        return false;
    if (event->is_answer) {
        add_text(L, index, event, out);
        return true;
    }
    if (event->raw.len && !event->is_text_set) {
        buf_add(out, event->raw);
        return true;
    }
    if (event->is_text_set)
        add_data_with_text(L, index, event, &data);
    else
        buf_add(&data, event->data);
    add_data_lines(out, buf_slice(&data));
    buf_free(&data);
    return true;
}

void lua_event_open(lua_State *L)
{
    luaL_newmetatable(L, EVENT); /* [mt] */
    lua_newtable(L);             /* [mt, methods] */
    lua_pushcfunction(L, event_copy);
    lua_setfield(L, -2, "copy");
    lua_pushcclosure(L, event_index, 1);
    lua_setfield(L, -2, "__index");
    lua_pushcfunction(L, event_newindex);
    lua_setfield(L, -2, "__newindex");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 1);
}
