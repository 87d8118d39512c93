/* lua_string.h -- the string functions of a policy that differ from LuaJIT's: patterns that can
 * be stopped, and no addresses.  The same Lua 5.1 patterns, with the same results. */
/* SPDX-License-Identifier: MIT */
#pragma once

struct lua_State;

/* Pushes a table of find, format, gmatch, gsub and match; the string library is open. */
int lua_string_new(struct lua_State *L);

/* Puts them into the string library, which strings' methods are too, and takes dump out. */
void lua_string_open(struct lua_State *L);
