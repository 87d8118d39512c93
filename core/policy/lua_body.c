/* lua_body.c -- req.body: the request's JSON as Lua values, and writes to it as
 * edits by span.
 *
 * The body is a table whose members are decoded when they are first read:
 *
 *   body     = { messages = {…} }              what the policy reads and writes
 *   seen     = { messages = true, logprobs = true }   members read, or written as nil
 *   spans    = { [table] = where it stood }    for every table that was decoded
 *   document = the bytes that all this is about, until the request is over
 *
 * When the request is sent, each seen member is written again: a table that
 * still is what it was, at the place where it stood, gives back its own bytes,
 * number texts, order and white space included; what differs is encoded anew.
 * A table that moved keeps its bytes as well. */
/* SPDX-License-Identifier: MIT */
#include "leaves/mem.h"
#include "lua_core.h"
#include "parsers/json.h"
#include <stdlib.h>

enum { BODY = 1, SEEN = 2, SPANS = 3, DOCUMENT = 4, RENDER_DEPTH = 120 };
enum { RENDER_MAX = 64 * 1024 * 1024 }; /* bytes of one member */

struct renderer {
    lua_State *L;
    const char *origin;
    int spans; /* stack index */
    struct buf *out;
};

static bool render(struct renderer *r, int index, int depth);

/* ---- reading ---- */

static const struct body *check_document(lua_State *L)
{
    const struct body **document = lua_touserdata(L, lua_upvalueindex(DOCUMENT));

    if (!*document)
        luaL_error(L, "this request is over");
    return *document;
}

/* The upvalues are the parts, in that order.  (body, name) */
static int body_index(lua_State *L)
{
    const struct body *body = check_document(L);

    if (lua_type(L, 2) != LUA_TSTRING)
        return 0;
    lua_settop(L, 2);
    lua_pushvalue(L, 2);
    lua_rawget(L, lua_upvalueindex(SEEN));
    if (lua_toboolean(L, -1)) /* it was read before, and is nil now: taken out */
        return 0;
    const struct body_member *member = body_get(body, lua_tostring(L, 2));
    if (!member)
        return 0;
    lua_pushvalue(L, lua_upvalueindex(SPANS));
    int spans = lua_gettop(L);
    if (!lua_json_decode(L, member->value, spans, body->text.ptr))
        return luaL_error(L, "req.body.%s: %s", lua_tostring(L, 2), lua_tostring(L, -1));
    lua_pushvalue(L, 2);
    lua_pushboolean(L, 1);
    lua_rawset(L, lua_upvalueindex(SEEN));
    lua_pushvalue(L, 2);
    lua_pushvalue(L, -2);
    lua_rawset(L, 1); /* body[name] = value */
    return 1;
}

static int body_newindex(lua_State *L)
{
    if (lua_type(L, 2) != LUA_TSTRING)
        return luaL_error(L, "a member of req.body has a name");
    lua_pushvalue(L, 2);
    lua_pushboolean(L, 1);
    lua_rawset(L, lua_upvalueindex(SEEN));
    lua_rawset(L, 1);
    return 0;
}

/* pairs(req.body): decodes what is left, then walks the plain members. */
static int body_pairs(lua_State *L)
{
    const struct body *body = check_document(L);

    for (size_t i = 0; i < body->count; i++) {
        struct buf name = {0};
        if (json_unescape(body->members[i].name, &name) == ERR_OK) {
            lua_pushlstring(L, name.ptr ? name.ptr : "", name.len);
            lua_gettable(L, 1);
            lua_pop(L, 1);
        }
        buf_free(&name);
    }
    lua_getglobal(L, "next");
    lua_pushvalue(L, 1);
    lua_pushnil(L);
    return 3;
}

static void push_method(lua_State *L, int base, lua_CFunction function)
{
    for (int i = BODY; i <= DOCUMENT; i++)
        lua_pushvalue(L, base + i);
    lua_pushcclosure(L, function, DOCUMENT);
}

int lua_body_new(lua_State *L, const struct body *body)
{
    int base = lua_gettop(L);

    lua_newtable(L);
    lua_newtable(L);
    lua_newtable(L);
    const struct body **document = lua_newuserdata(L, sizeof *document);
    *document = body; /* [body, seen, spans, document] */
    lua_newtable(L);  /* [.., mt] */
    push_method(L, base, body_index);
    lua_setfield(L, -2, "__index");
    push_method(L, base, body_newindex);
    lua_setfield(L, -2, "__newindex");
    push_method(L, base, body_pairs);
    lua_setfield(L, -2, "__pairs");
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_setmetatable(L, base + BODY);

    lua_createtable(L, DOCUMENT, 0); /* [.., parts] */
    for (int i = BODY; i <= DOCUMENT; i++) {
        lua_pushvalue(L, base + i);
        lua_rawseti(L, -2, i);
    }
    int ref = luaL_ref(L, LUA_REGISTRYINDEX);
    lua_settop(L, base);
    return ref;
}

void lua_body_push(lua_State *L, int ref)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    lua_rawgeti(L, -1, BODY);
    lua_remove(L, -2);
}

void lua_body_close(lua_State *L, int ref)
{
    if (ref == LUA_NOREF)
        return;
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    lua_rawgeti(L, -1, DOCUMENT);
    *(const struct body **)lua_touserdata(L, -1) = NULL;
    lua_pop(L, 2);
    luaL_unref(L, LUA_REGISTRYINDEX, ref);
}

/* ---- writing ---- */

/* The span of the table at index, or an empty slice when it was made by the policy. */
static struct slice span_of(struct renderer *r, int index)
{
    lua_pushvalue(r->L, index);
    lua_rawget(r->L, r->spans);
    double place = lua_tonumber(r->L, -1);
    bool known = lua_isnumber(r->L, -1);
    lua_pop(r->L, 1);
    if (!known)
        return (struct slice){NULL, 0};
    double offset = (double)(int64_t)(place / 134217728.0);
    return (struct slice){r->origin + (size_t)offset, (size_t)(place - offset * 134217728.0)};
}

/* Whether the scalar at index is what the text at value says. */
static bool is_same_scalar(lua_State *L, int index, struct slice value)
{
    bool same;

    if (!lua_json_decode(L, value, 0, NULL)) {
        lua_pop(L, 2);
        return false;
    }
    same = lua_rawequal(L, index, -1);
    lua_pop(L, 1);
    return same;
}

/* The value at index, where the original had the text value. */
static bool render_in_place(struct renderer *r, int index, struct slice value, int depth)
{
    bool is_table = lua_istable(r->L, index);
    bool was_table = value.ptr[0] == '{' || value.ptr[0] == '[';

    if (!is_table && !was_table && is_same_scalar(r->L, index, value)) {
        buf_add(r->out, value);
        return true;
    }
    return render(r, index, depth + 1);
}

static bool render_list(struct renderer *r, int index, int depth)
{
    size_t count = lua_objlen(r->L, index);

    buf_add_char(r->out, '[');
    for (size_t i = 1; i <= count; i++) {
        if (i > 1)
            buf_add_char(r->out, ',');
        lua_rawgeti(r->L, index, (int)i);
        if (!render(r, lua_gettop(r->L), depth + 1))
            return false;
        lua_pop(r->L, 1);
    }
    buf_add_char(r->out, ']');
    return true;
}

static size_t count_elements(struct slice text)
{
    struct json json = json_init(text);
    size_t count = 0;

    for (json_enter_array(&json); json_next_element(&json); count++)
        json_skip(&json);
    return count;
}

/* An array that stood at text: element by element, the bytes between them kept. */
static bool render_array(struct renderer *r, int index, struct slice text, int depth)
{
    struct json json = json_init(text);
    const char *copied = text.ptr;
    int i = 1;

    if (count_elements(text) != lua_objlen(r->L, index))
        return render_list(r, index, depth);
    for (json_enter_array(&json); json_next_element(&json); i++) {
        struct slice value = json_skip(&json);
        buf_add(r->out, (struct slice){copied, (size_t)(value.ptr - copied)});
        copied = value.ptr + value.len;
        lua_rawgeti(r->L, index, i);
        if (!render_in_place(r, lua_gettop(r->L), value, depth))
            return false;
        lua_pop(r->L, 1);
    }
    buf_add(r->out, (struct slice){copied, (size_t)(text.ptr + text.len - copied)});
    return true;
}

/* Whether the member was written already. */
static bool is_known(lua_State *L, int known, const char *name)
{
    if (!known)
        return false;
    lua_getfield(L, known, name);
    bool written = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return written;
}

static bool render_member(struct renderer *r, int index, const char *name, int depth)
{
    json_quote(r->out, slice_of(name));
    buf_add_char(r->out, ':');
    lua_pushstring(r->L, name);
    lua_rawget(r->L, index);
    if (!render(r, lua_gettop(r->L), depth + 1))
        return false;
    lua_pop(r->L, 1);
    return true;
}

/* In the order of their names: providers' prompt caches want the same bytes each time. */
static bool render_members(struct renderer *r, int index, int known, bool first, int depth)
{
    size_t count;
    const char **names = lua_json_names(r->L, index, &count);
    bool ok = names != NULL;

    if (!ok)
        lua_pushliteral(r->L, "a table that is no list has a key that is no string");
    for (size_t i = 0; i < count && ok; i++) {
        if (is_known(r->L, known, names[i]))
            continue;
        if (!first)
            buf_add_char(r->out, ',');
        first = false;
        ok = render_member(r, index, names[i], depth);
    }
    mem_free(names);
    if (ok)
        buf_add_char(r->out, '}');
    return ok;
}

/* An object that stood at text: members in their order, those that are gone left out, new
 * ones at the end. */
static bool render_object(struct renderer *r, int index, struct slice text, int depth)
{
    lua_State *L = r->L;
    struct json json = json_init(text);
    const char *copied = text.ptr + 1; /* past the brace */
    bool first = true;
    struct slice name;

    lua_newtable(L);
    int known = lua_gettop(L);
    buf_add_char(r->out, '{');
    for (json_enter_object(&json); json_next_member(&json, &name);) {
        struct buf plain = {0};
        struct slice value = json_skip(&json);
        if (json_unescape(name, &plain)) {
            buf_free(&plain);
            lua_pushliteral(L, "a member's name cannot be read");
            return false;
        }
        lua_pushlstring(L, plain.ptr ? plain.ptr : "", plain.len);
        buf_free(&plain);
        lua_pushvalue(L, -1);
        lua_pushboolean(L, 1);
        lua_rawset(L, known);
        lua_rawget(L, index); /* [.., value now] */
        const char *before = copied;
        if (!first && *before == ',')
            before++;
        copied = value.ptr + value.len;
        if (!lua_isnil(L, -1)) {
            if (!first)
                buf_add_char(r->out, ',');
            while (first && before < value.ptr && *before == ',')
                before++;
            buf_add(r->out, (struct slice){before, (size_t)(value.ptr - before)});
            if (!render_in_place(r, lua_gettop(L), value, depth))
                return false;
            first = false;
        }
        lua_pop(L, 1);
        while (copied < text.ptr + text.len && *copied != ',' && *copied != '}')
            copied++; /* white space before the comma goes with the comma */
    }
    if (!render_members(r, index, known, first, depth))
        return false;
    lua_remove(L, known);
    return true;
}

static bool render(struct renderer *r, int index, int depth)
{
    if (!lua_istable(r->L, index))
        return lua_json_encode(r->L, index, r->out);
    if (lua_guard_is_over || r->out->len > RENDER_MAX) {
        lua_pushliteral(r->L, "the text is longer than 64 MiB, or took too long");
        return false;
    }
    if (depth > RENDER_DEPTH || !lua_checkstack(r->L, 10)) {
        lua_pushliteral(r->L, "a table is nested too deeply, or holds itself");
        return false;
    }
    struct slice text = span_of(r, index);
    bool is_array = lua_json_is_array(r->L, index);
    if (text.len && text.ptr[0] == '[' && is_array)
        return render_array(r, index, text, depth);
    if (text.len && text.ptr[0] == '{' && !is_array)
        return render_object(r, index, text, depth);
    if (is_array)
        return render_list(r, index, depth);
    buf_add_char(r->out, '{');
    return render_members(r, index, 0, true, depth);
}

/* One seen member: its name is at the top of the stack. */
static bool collect_member(struct renderer *r, const struct body *original, int body,
                           struct body_edits *edits)
{
    lua_State *L = r->L;
    const char *name = lua_tostring(L, -1);
    const struct body_member *member = body_get(original, name);

    lua_pushvalue(L, -1);
    lua_rawget(L, body); /* [.., name, value] */
    if (lua_isnil(L, -1)) {
        body_edits_drop(edits, name);
        lua_pop(L, 1);
        return true;
    }
    buf_clear(r->out);
    bool ok =
        member ? render_in_place(r, lua_gettop(L), member->value, 0) : render(r, lua_gettop(L), 0);
    if (!ok)
        return false;
    if (!member || !slice_equal(buf_slice(r->out), member->value))
        body_edits_set(edits, name, buf_slice(r->out));
    lua_pop(L, 1);
    return true;
}

bool lua_body_collect(lua_State *L, int ref, struct body_edits *edits)
{
    struct buf out = {0};
    int top = lua_gettop(L);

    body_edits_free(edits);
    luaL_checkstack(L, 16, "no room");
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    for (int i = BODY; i <= DOCUMENT; i++)
        lua_rawgeti(L, top + 1, i); /* [parts, body, seen, spans, document] */
    const struct body *original = *(const struct body **)lua_touserdata(L, -1);
    struct renderer r = {L, original->text.ptr, top + 1 + SPANS, &out};

    size_t count;
    const char **names = lua_json_names(L, top + 1 + SEEN, &count);
    bool ok = true;
    for (size_t i = 0; i < count && ok; i++) {
        lua_settop(L, top + 1 + DOCUMENT);
        lua_pushstring(L, names[i]);
        ok = collect_member(&r, original, top + 1 + BODY, edits);
    }
    mem_free(names);
    if (!ok) {
        buf_free(&out);
        lua_pushfstring(L, "req.body: %s", lua_tostring(L, -1));
        lua_insert(L, top + 1);
        lua_settop(L, top + 1);
        return false;
    }
    buf_free(&out);
    lua_settop(L, top);
    return true;
}
