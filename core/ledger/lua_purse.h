/* lua_purse.h -- what has been spent and in which window, for lua/weir/clerk*.lua. */
/* SPDX-License-Identifier: MIT */
#pragma once

struct budget;
struct lua_State;

/* Adds its functions to the table on top; budget is borrowed. */
void lua_purse_open(struct lua_State *L, struct budget *budget);
