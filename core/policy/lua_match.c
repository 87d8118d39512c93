/* lua_match.c -- Lua 5.1 patterns, matched by backtracking that looks at the budget.
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
#include "lua_match.h"
#include "lua_guard.h"
#include <ctype.h>
#include <lauxlib.h>
#include <string.h>

enum { DEPTH_MAX = 200 }; /* of match within match, as in LuaJIT */

static const char *match(struct lua_match *m, const char *s, const char *p);

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
static const char *set_end(struct lua_match *m, const char *p)
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
static const char *single_end(struct lua_match *m, const char *p)
{
    if (*p == '[')
        return set_end(m, p + 1) + 1;
    if (*p != '%')
        return p + 1;
    if (p + 1 >= m->pattern_end)
        luaL_error(m->L, "malformed pattern (ends with '%%')");
    return p + 2;
}

static bool is_single(const struct lua_match *m, const char *s, const char *p, const char *end)
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

static void look(const struct lua_match *m)
{
    if (lua_guard_is_over)
        lua_guard_check(m->L);
}

/* As many as there are, then fewer. */
static const char *match_most(struct lua_match *m, const char *s, const char *p, const char *end)
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
static const char *match_least(struct lua_match *m, const char *s, const char *p, const char *end)
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

static const char *open_capture(struct lua_match *m, const char *s, const char *p, ptrdiff_t len)
{
    if (m->count >= LUA_MATCH_CAPTURES)
        luaL_error(m->L, "too many captures");
    m->captures[m->count++] = (struct lua_capture){s, len};
    const char *found = match(m, s, p);
    if (!found)
        m->count--;
    return found;
}

static const char *close_capture(struct lua_match *m, const char *s, const char *p)
{
    int i = m->count - 1;

    while (i >= 0 && m->captures[i].len != LUA_MATCH_OPEN)
        i--;
    if (i < 0) {
        luaL_error(m->L, "invalid pattern capture");
        return NULL;
    }
    m->captures[i].len = s - m->captures[i].at;
    const char *found = match(m, s, p);
    if (!found)
        m->captures[i].len = LUA_MATCH_OPEN;
    return found;
}

/* Past the text of an earlier capture, or NULL. */
static const char *match_again(struct lua_match *m, const char *s, char digit)
{
    int i = digit - '1';

    if (i < 0 || i >= m->count || m->captures[i].len == LUA_MATCH_OPEN) {
        luaL_error(m->L, "invalid capture index");
        return NULL;
    }
    ptrdiff_t len = m->captures[i].len;
    if (len == LUA_MATCH_POSITION) /* as in LuaJIT: longer than any subject */
        return NULL;
    return m->end - s >= len && memcmp(m->captures[i].at, s, (size_t)len) == 0 ? s + len : NULL;
}

/* %bxy at p, which is past the b: past the pair that balances, or NULL. */
static const char *match_balance(struct lua_match *m, const char *s, const char *p)
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
static bool is_frontier(struct lua_match *m, const char *s, const char *p, const char **next)
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
static bool take_special(struct lua_match *m, const char **s, const char **p)
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

static const char *match_items(struct lua_match *m, const char *s, const char *p)
{
    while (p < m->pattern_end) {
        look(m);
        if (*p == '(') {
            bool is_position = p + 1 < m->pattern_end && p[1] == ')';
            return open_capture(m, s, p + 1 + is_position,
                                is_position ? LUA_MATCH_POSITION : LUA_MATCH_OPEN);
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

static const char *match(struct lua_match *m, const char *s, const char *p)
{
    if (++m->depth > DEPTH_MAX)
        luaL_error(m->L, "pattern too complex");
    s = match_items(m, s, p);
    m->depth--;
    return s;
}

/* ---- the whole ---- */

struct lua_match lua_match_init(lua_State *L, const char *subject, size_t len, const char *pattern,
                                size_t pattern_len)
{
    return (struct lua_match){
        .L = L, .begin = subject, .end = subject + len, .pattern_end = pattern + pattern_len};
}

const char *lua_match_at(struct lua_match *m, const char *s, const char *p)
{
    m->count = m->depth = 0;
    return match(m, s, p);
}
