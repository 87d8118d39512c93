/* lua_texts.h -- stored texts, as the clerk's Lua has them. */
/* SPDX-License-Identifier: MIT */
#pragma once

struct clerk_texts;
struct lua_State;

/* Adds its functions to the table on top of the stack. */
void lua_texts_open(struct lua_State *L, struct clerk_texts *texts);
