/* lua_usage.h -- the ledger's sums, for the clerk's Lua. */
/* SPDX-License-Identifier: MIT */
#pragma once

struct keys;
struct ledger;
struct lua_State;

/* Sets two functions in the table on top; all is borrowed.
 *
 *   sums(function(row), of_days, since_s, by …)   by: "key", "team", "model", "target", "day"
 *   name(id)                                      of a key or a team; nil: there is none
 *
 * A row has what it is summed by (key and team as their ids, day as the time when it begins), and
 * requests, errors, attempts, prompt, completion, cached, reasoning, cost, estimated. */
void lua_usage_open(struct lua_State *L, struct ledger *ledger, struct keys *keys);
