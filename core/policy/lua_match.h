/* lua_match.h -- Lua 5.1 patterns over a subject, under the budget of whoever runs. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <lua.h>
#include <stddef.h>

enum {
    LUA_MATCH_CAPTURES = 32,
    LUA_MATCH_OPEN = -1, /* lengths of captures that have none */
    LUA_MATCH_POSITION = -2,
};

struct lua_capture {
    const char *at;
    ptrdiff_t len;
};

struct lua_match {
    lua_State *L;
    const char *begin, *end; /* of the subject */
    const char *pattern_end;
    struct lua_capture captures[LUA_MATCH_CAPTURES];
    int count, depth;
};

struct lua_match lua_match_init(lua_State *L, const char *subject, size_t len, const char *pattern,
                                size_t pattern_len);
/* Where the match of p that begins at s ends; NULL: there is none.  Raises for a pattern that is
 * none, and when the budget is spent. */
__attribute__((nonnull)) const char *lua_match_at(struct lua_match *m, const char *s,
                                                  const char *p);
