/* lua_string.c -- Lua 5.1 patterns, matched by backtracking that looks at the budget.
 *
 * A pattern is a row of items, each with what follows it:
 *
 *     match(s, p):  item at p | single ? * + -  -> tries lengths, match() for the rest
 *                             | ( )  %b  %f  %1 -> moves s, goes on
 *                             | nothing left    -> s is where the match ends
 *
 * LuaJIT's own does the same, but for as long as it takes: thirty optional letters are 2^30
 * tries, and no hook is called meanwhile. */
/* SPDX-License-Identifier: MIT */
#include "lua_string.h"
#include "lua_guard.h"
#include <ctype.h>
#include <lauxlib.h>
#include <lua.h>
#include <string.h>

enum {
    CAPTURES_MAX = 32,
    DEPTH_MAX = 200, /* of match within match, as in LuaJIT */
    OPEN = -1,       /* lengths of captures that have none */
    POSITION = -2,
};

struct capture {
    const char *at;
    ptrdiff_t len;
};

struct match {
    lua_State *L;
    const char *begin, *end; /* of the subject */
    const char *pattern_end;
    struct capture captures[CAPTURES_MAX];
    int count, depth;
};

static const char *match(struct match *m, const char *s, const char *p);

/* ---- single characters ---- */

static bool is_of_class(unsigned char c, unsigned char class)
{
    bool is;

    switch (class | 0x20) {
    case 'a': is = isalpha(c); break;
    case 'c': is = iscntrl(c); break;
    case 'd': is = isdigit(c); break;
    case 'g': is = isgraph(c); break;
    case 'l': is = islower(c); break;
    case 'p': is = ispunct(c); break;
    case 's': is = isspace(c); break;
    case 'u': is = isupper(c); break;
    case 'w': is = isalnum(c); break;
    case 'x': is = isxdigit(c); break;
    case 'z': is = c == 0; break;
    default: return class == c;
    }
    return isupper(class) ? !is : is;
}

/* p is past the bracket; gives the place of the closing one. */
static const char *set_end(struct match *m, const char *p)
{
    if (p < m->pattern_end && *p == '^')
        p++;
    do { /* the first may be a ] itself */
        if (p >= m->pattern_end)
            luaL_error(m->L, "malformed pattern (missing ']')");
        if (*p++ == '%' && p < m->pattern_end)
            p++;
    } while (p >= m->pattern_end || *p != ']');
    return p;
}

/* The set from p, past the bracket, to its closing one at end. */
static bool is_in_set(unsigned char c, const char *p, const char *end)
{
    bool is_negated = *p == '^';

    for (p += is_negated; p < end; p++) {
        if (*p == '%') {
            p++;
            if (is_of_class(c, (unsigned char)*p))
                return !is_negated;
        } else if (p[1] == '-' && p + 2 < end) {
            if ((unsigned char)p[0] <= c && c <= (unsigned char)p[2])
                return !is_negated;
            p += 2;
        } else if ((unsigned char)*p == c) {
            return !is_negated;
        }
    }
    return is_negated;
}

/* Past the single character, class or set at p. */
static const char *single_end(struct match *m, const char *p)
{
    if (*p == '[')
        return set_end(m, p + 1) + 1;
    if (*p != '%')
        return p + 1;
    if (p + 1 >= m->pattern_end)
        luaL_error(m->L, "malformed pattern (ends with '%%')");
    return p + 2;
}

static bool is_single(const struct match *m, const char *s, const char *p, const char *end)
{
    if (s >= m->end)
        return false;
    switch (*p) {
    case '.': return true;
    case '%': return is_of_class((unsigned char)*s, (unsigned char)p[1]);
    case '[': return is_in_set((unsigned char)*s, p + 1, end - 1);
    default: return *p == *s;
    }
}

/* ---- how often ---- */

static void look(const struct match *m)
{
    if (lua_guard_is_over)
        lua_guard_check(m->L);
}

/* As many as there are, then fewer. */
static const char *match_most(struct match *m, const char *s, const char *p, const char *end)
{
    const char *last = s;

    for (; is_single(m, last, p, end); last++)
        look(m); /* a set may be long */
    for (; last >= s; last--) {
        look(m);
        const char *found = match(m, last, end + 1);
        if (found)
            return found;
    }
    return NULL;
}

/* None, then more. */
static const char *match_least(struct match *m, const char *s, const char *p, const char *end)
{
    for (;; s++) {
        look(m);
        const char *found = match(m, s, end + 1);
        if (found)
            return found;
        if (!is_single(m, s, p, end))
            return NULL;
    }
}

/* ---- captures ---- */

static const char *open_capture(struct match *m, const char *s, const char *p, ptrdiff_t len)
{
    if (m->count >= CAPTURES_MAX)
        luaL_error(m->L, "too many captures");
    m->captures[m->count++] = (struct capture){s, len};
    const char *found = match(m, s, p);
    if (!found)
        m->count--;
    return found;
}

static const char *close_capture(struct match *m, const char *s, const char *p)
{
    int i = m->count - 1;

    while (i >= 0 && m->captures[i].len != OPEN)
        i--;
    if (i < 0) {
        luaL_error(m->L, "invalid pattern capture");
        return NULL;
    }
    m->captures[i].len = s - m->captures[i].at;
    const char *found = match(m, s, p);
    if (!found)
        m->captures[i].len = OPEN;
    return found;
}

/* Past the text of an earlier capture, or NULL. */
static const char *match_again(struct match *m, const char *s, char digit)
{
    int i = digit - '1';

    if (i < 0 || i >= m->count || m->captures[i].len == OPEN) {
        luaL_error(m->L, "invalid capture index");
        return NULL;
    }
    ptrdiff_t len = m->captures[i].len;
    if (len == POSITION) /* as in LuaJIT: longer than any subject */
        return NULL;
    return m->end - s >= len && memcmp(m->captures[i].at, s, (size_t)len) == 0 ? s + len : NULL;
}

/* %bxy at p, which is past the b: past the pair that balances, or NULL. */
static const char *match_balance(struct match *m, const char *s, const char *p)
{
    int depth = 1;

    if (p + 1 >= m->pattern_end)
        luaL_error(m->L, "unbalanced pattern");
    if (s >= m->end || *s != p[0])
        return NULL;
    while (++s < m->end) {
        if (*s == p[1]) {
            if (--depth == 0)
                return s + 1;
        } else if (*s == p[0]) {
            depth++;
        }
    }
    return NULL;
}

/* ---- items ---- */

/* %f[set] at p, which is past the f; *next is then past the set. */
static bool is_frontier(struct match *m, const char *s, const char *p, const char **next)
{
    if (p >= m->pattern_end || *p != '[')
        luaL_error(m->L, "missing '[' after '%%f' in pattern");
    const char *end = set_end(m, p + 1);
    unsigned char before = s == m->begin ? 0 : (unsigned char)s[-1];
    unsigned char after = s == m->end ? 0 : (unsigned char)*s;
    *next = end + 1;
    return !is_in_set(before, p + 1, end) && is_in_set(after, p + 1, end);
}

/* An item that is no single, if there is one at p: moves both on, or gives NULL in *s. */
static bool take_special(struct match *m, const char **s, const char **p)
{
    if (**p != '%' || *p + 1 >= m->pattern_end)
        return false;
    char kind = (*p)[1];

    if (kind == 'b') {
        *s = match_balance(m, *s, *p + 2);
        *p += 4;
    } else if (kind == 'f') {
        if (!is_frontier(m, *s, *p + 2, p))
            *s = NULL;
    } else if (kind >= '0' && kind <= '9') {
        *s = match_again(m, *s, kind);
        *p += 2;
    } else {
        return false;
    }
    return true;
}

static const char *match_items(struct match *m, const char *s, const char *p)
{
    while (p < m->pattern_end) {
        look(m);
        if (*p == '(') {
            bool is_position = p + 1 < m->pattern_end && p[1] == ')';
            return open_capture(m, s, p + 1 + is_position, is_position ? POSITION : OPEN);
        }
        if (*p == ')')
            return close_capture(m, s, p + 1);
        if (*p == '$' && p + 1 == m->pattern_end)
            return s == m->end ? s : NULL;
        if (take_special(m, &s, &p)) {
            if (!s)
                return NULL;
            continue;
        }
        const char *end = single_end(m, p);
        char many = end < m->pattern_end ? *end : '\0';
        if (many == '*')
            return match_most(m, s, p, end);
        if (many == '+')
            return is_single(m, s, p, end) ? match_most(m, s + 1, p, end) : NULL;
        if (many == '-')
            return match_least(m, s, p, end);
        if (many == '?') {
            const char *found = is_single(m, s, p, end) ? match(m, s + 1, end + 1) : NULL;
            if (found)
                return found;
            p = end + 1;
            continue;
        }
        if (!is_single(m, s, p, end))
            return NULL;
        s++;
        p = end;
    }
    return s;
}

static const char *match(struct match *m, const char *s, const char *p)
{
    if (++m->depth > DEPTH_MAX)
        luaL_error(m->L, "pattern too complex");
    s = match_items(m, s, p);
    m->depth--;
    return s;
}

/* ---- what a match gives ---- */

/* Capture i of the match from s to e; capture 0 of none is the whole. */
static void push_capture(struct match *m, int i, const char *s, const char *e)
{
    if (i >= m->count) {
        if (i > 0)
            luaL_error(m->L, "invalid capture index");
        lua_pushlstring(m->L, s, (size_t)(e - s));
        return;
    }
    const struct capture *capture = &m->captures[i];
    if (capture->len == OPEN)
        luaL_error(m->L, "unfinished capture");
    if (capture->len == POSITION)
        lua_pushinteger(m->L, capture->at - m->begin + 1);
    else
        lua_pushlstring(m->L, capture->at, (size_t)capture->len);
}

static int push_captures(struct match *m, const char *s, const char *e)
{
    int count = m->count == 0 && s ? 1 : m->count;

    luaL_checkstack(m->L, count, "too many captures");
    for (int i = 0; i < count; i++)
        push_capture(m, i, s, e);
    return count;
}

static struct match match_init(lua_State *L, const char *subject, size_t len, const char *pattern,
                               size_t pattern_len)
{
    return (struct match){
        .L = L, .begin = subject, .end = subject + len, .pattern_end = pattern + pattern_len};
}

/* From nothing, at s. */
static const char *match_at(struct match *m, const char *s, const char *p)
{
    m->count = m->depth = 0;
    return match(m, s, p);
}

/* ---- find, match ---- */

/* Where argument 3 says that the search begins. */
static size_t begin_of(lua_State *L, size_t len)
{
    lua_Integer init = luaL_optinteger(L, 3, 1);

    init = init < 0 ? init + (lua_Integer)len : init - 1;
    if (init < 0)
        init = 0;
    return (size_t)init > len ? len : (size_t)init;
}

static bool is_plain(const char *pattern, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (pattern[i] && strchr("^$*+?.([%-", pattern[i]))
            return false;
    return true;
}

/* memmem takes time by the sum of the two lengths, never by their product. */
static int find_plain(lua_State *L, const char *s, size_t len, size_t begin, const char *p,
                      size_t pattern_len)
{
    const char *found = memmem(s + begin, len - begin, p, pattern_len);

    if (!found) {
        lua_pushnil(L);
        return 1;
    }
    lua_pushinteger(L, found - s + 1);
    lua_pushinteger(L, found - s + (ptrdiff_t)pattern_len);
    return 2;
}

static int search(lua_State *L, bool wants_place)
{
    size_t len, pattern_len;
    const char *s = luaL_checklstring(L, 1, &len);
    const char *p = luaL_checklstring(L, 2, &pattern_len);
    if (!s || !p)
        return 0; /* luaL_checklstring does not return then, which only Lua knows */
    size_t begin = begin_of(L, len);

    if (wants_place && (lua_toboolean(L, 4) || is_plain(p, pattern_len)))
        return find_plain(L, s, len, begin, p, pattern_len);
    struct match m = match_init(L, s, len, p, pattern_len);
    bool is_anchored = pattern_len && *p == '^';
    const char *at = s + begin;
    do {
        const char *end = match_at(&m, at, p + is_anchored);
        if (end && !wants_place)
            return push_captures(&m, at, end);
        if (end) {
            lua_pushinteger(L, at - s + 1);
            lua_pushinteger(L, end - s);
            return push_captures(&m, NULL, NULL) + 2;
        }
    } while (at++ < m.end && !is_anchored);
    lua_pushnil(L);
    return 1;
}

static int string_find(lua_State *L)
{
    return search(L, true);
}

static int string_match(lua_State *L)
{
    return search(L, false);
}

/* ---- gmatch ---- */

/* Upvalues: subject, pattern, where to go on. */
static int next_match(lua_State *L)
{
    size_t len, pattern_len;
    const char *s = lua_tolstring(L, lua_upvalueindex(1), &len);
    const char *p = lua_tolstring(L, lua_upvalueindex(2), &pattern_len);
    struct match m = match_init(L, s, len, p, pattern_len);

    for (const char *at = s + lua_tointeger(L, lua_upvalueindex(3)); at <= m.end; at++) {
        const char *end = match_at(&m, at, p);
        if (!end)
            continue;
        lua_pushinteger(L, end - s + (end == at)); /* an empty match moves on */
        lua_replace(L, lua_upvalueindex(3));
        return push_captures(&m, at, end);
    }
    lua_pushinteger(L, (lua_Integer)len + 1);
    lua_replace(L, lua_upvalueindex(3));
    return 0;
}

static int string_gmatch(lua_State *L)
{
    luaL_checkstring(L, 1);
    luaL_checkstring(L, 2);
    lua_settop(L, 2);
    lua_pushinteger(L, 0);
    lua_pushcclosure(L, next_match, 3);
    return 1;
}

/* ---- gsub ---- */

/* Argument 3 as text: %1 to %9 are captures, %0 the whole, and % before another that itself. */
static void add_text(struct match *m, luaL_Buffer *out, const char *s, const char *e)
{
    size_t len;
    const char *text = lua_tolstring(m->L, 3, &len);

    for (size_t i = 0; i < len; i++) {
        if (text[i] != '%') {
            luaL_addchar(out, text[i]);
            continue;
        }
        i++; /* at the end it is the NUL that every string has, as in LuaJIT */
        if (!isdigit((unsigned char)text[i])) {
            luaL_addchar(out, text[i]);
        } else if (text[i] == '0') {
            luaL_addlstring(out, s, (size_t)(e - s));
        } else {
            push_capture(m, text[i] - '1', s, e);
            luaL_addvalue(out);
        }
    }
}

/* What stands for the match from s to e. */
static void add_replacement(struct match *m, luaL_Buffer *out, const char *s, const char *e)
{
    lua_State *L = m->L;

    switch (lua_type(L, 3)) {
    case LUA_TFUNCTION:
        lua_pushvalue(L, 3);
        lua_call(L, push_captures(m, s, e), 1);
        break;
    case LUA_TTABLE:
        push_capture(m, 0, s, e);
        lua_gettable(L, 3);
        break;
    default: add_text(m, out, s, e); return;
    }
    if (!lua_toboolean(L, -1)) {
        lua_pop(L, 1);
        luaL_addlstring(out, s, (size_t)(e - s));
        return;
    }
    if (!lua_isstring(L, -1))
        luaL_error(L, "invalid replacement value (a %s)", luaL_typename(L, -1));
    luaL_addvalue(out);
}

static void check_replacement(lua_State *L)
{
    switch (lua_type(L, 3)) {
    case LUA_TNUMBER:
    case LUA_TSTRING:
    case LUA_TTABLE:
    case LUA_TFUNCTION: return;
    default: luaL_argerror(L, 3, "string/function/table expected");
    }
}

static int string_gsub(lua_State *L)
{
    size_t len, pattern_len;
    const char *s = luaL_checklstring(L, 1, &len);
    const char *p = luaL_checklstring(L, 2, &pattern_len);
    luaL_Buffer out;

    if (!s || !p)
        return 0; /* as above */
    check_replacement(L);
    lua_Integer most = luaL_optinteger(L, 4, (lua_Integer)len + 1), count = 0;
    struct match m = match_init(L, s, len, p, pattern_len);
    bool is_anchored = pattern_len && *p == '^';
    luaL_buffinit(L, &out);
    while (count < most) {
        const char *end = match_at(&m, s, p + is_anchored);
        if (end) {
            count++;
            add_replacement(&m, &out, s, end);
        }
        if (end && end > s)
            s = end;
        else if (s < m.end)
            luaL_addlstring(&out, s++, 1);
        else
            break;
        if (is_anchored)
            break;
    }
    luaL_addlstring(&out, s, (size_t)(m.end - s));
    luaL_pushresult(&out);
    lua_pushinteger(L, count);
    return 2;
}

/* ---- format ---- */

/* The value at index as text without an address, in its place. */
static void name_value(lua_State *L, int index)
{
    if (lua_isstring(L, index) || lua_isnil(L, index) || lua_isboolean(L, index))
        return;
    if (!luaL_callmeta(L, index, "__tostring"))
        lua_pushstring(L, luaL_typename(L, index));
    else if (!lua_isstring(L, -1))
        luaL_error(L, "'__tostring' must return a string");
    lua_replace(L, index);
}

/* LuaJIT's own, upvalue 1, without what would tell where things lie in memory. */
static int string_format(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    int argument = 1, count = lua_gettop(L);

    for (size_t i = 0; i < len; i++) {
        if (text[i] != '%' || text[++i] == '%')
            continue;
        i += strspn(text + i, "-+ #0123456789.");
        argument++;
        if (text[i] == 'p')
            return luaL_error(L, "invalid option '%%p' to 'format'");
        if (text[i] == 's' && argument <= count)
            name_value(L, argument);
    }
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_insert(L, 1);
    lua_call(L, count, 1);
    return 1;
}

/* ---- the library ---- */

int lua_string_new(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"find", string_find}, {"gmatch", string_gmatch},
        {"gsub", string_gsub}, {"match", string_match},
        {NULL, NULL},
    };

    lua_newtable(L);
    luaL_setfuncs(L, functions, 0);
    lua_getglobal(L, "string");
    lua_getfield(L, -1, "format");
    lua_pushcclosure(L, string_format, 1); /* [functions, string, format] */
    lua_setfield(L, -3, "format");
    lua_pop(L, 1);
    return 1;
}

void lua_string_open(lua_State *L)
{
    lua_getglobal(L, "string");
    lua_string_new(L); /* [string, functions] */
    lua_pushnil(L);
    while (lua_next(L, -2)) {
        lua_pushvalue(L, -2);
        lua_insert(L, -2);
        lua_rawset(L, -5); /* [string, functions, name] */
    }
    lua_pop(L, 1);
    lua_pushnil(L);
    lua_setfield(L, -2, "dump");
    lua_pushliteral(L, "");
    lua_getmetatable(L, -1); /* [string, "", mt] */
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "__metatable");
    lua_pop(L, 3);
}
