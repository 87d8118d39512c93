/* lua_clerk.h -- the clerk's Lua: lua/weir/clerk.lua, and what it may do.
 *
 * It has the ledger, the shared tables of keys and budgets, and the clock; no
 * policy runs here. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/slice.h"

struct budget;
struct clerk_texts;
struct keys;
struct ledger;
struct lua_clerk;

struct lua_clerk_settings { /* all borrowed */
    struct ledger *ledger;
    struct keys *keys;
    struct budget *budget;
    struct clerk_texts *texts;
    bool (*settle)(void *arg);  /* writes what workers have closed */
    void (*breathe)(void *arg); /* the same, if it was not done just now */
    void *arg;
};

/* NULL: problem says why. */
struct lua_clerk *lua_clerk_new(const struct lua_clerk_settings *settings, struct buf *problem);
void lua_clerk_free(struct lua_clerk *clerk);

/* Puts all keys, and what they have spent, into the shared tables.  is_again: a clerk before this
 * one did, and workers have counted since.  False: the ledger cannot be read. */
bool lua_clerk_load(struct lua_clerk *clerk, bool is_again);
/* Once a second or so: windows that end. */
void lua_clerk_turn(struct lua_clerk *clerk);
/* The whole answer to an HTTP request, its head included, onto out.  False: it failed, and the log
 * has why. */
bool lua_clerk_answer(struct lua_clerk *clerk, struct slice request, struct buf *out);
