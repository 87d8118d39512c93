/* lua_sim.h -- a generation in which a spec runs beside the policies that it tests. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include <stdbool.h>

struct limits;
struct lua_sim;
struct sources;

/* A fresh state with the simulator in it.  Never NULL. */
struct lua_sim *lua_sim_new(void);
void lua_sim_free(struct lua_sim *lua_sim);

/* A state whose clock begins now, and whose world has what is in these limits, which are only
 * read.  The process's first. */
struct lua_sim *lua_sim_continue(const struct limits *limits);

/* Files are read through these from now on; borrowed for good. */
void lua_sim_read(struct lua_sim *lua_sim, struct sources *sources);

/* Calls a function of one of Weir's own modules: module.name(args…) -> text, number.  Gives the
 * number; the text, or the error with -1, is appended to out. */
int lua_sim_call(struct lua_sim *lua_sim, const char *module, const char *name,
                 const char *const *args, size_t count, struct buf *out);
