/* generation.h -- one loaded version of weir.lua.
 *
 * A generation is a Lua state with the configuration that was read and the
 * policies that it makes.  Requests end on the one that they began with. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "config.h"
#include "leaves/buf.h"

struct generation;
struct limits;
struct sources;

/* Loads a weir.lua from sources, which are borrowed until it returns.  NULL when it has errors;
 * each is then a line in problems.  The generation borrows limits. */
struct generation *generation_load(const char *path, unsigned number, struct limits *limits,
                                   struct sources *sources, struct buf *problems);
/* One without a weir.lua: the simulator's. */
struct generation *generation_new(struct limits *limits);
/* One more user: a request holds the generation it began with, the worker the one that requests
 * begin with.  Gives it back. */
struct generation *generation_share(struct generation *generation);
/* One user less; the last one frees it.  No policy of that user's may be left in it. */
void generation_free(struct generation *generation);
/* Called once, when nobody uses it any more, before it is freed. */
void generation_on_free(struct generation *generation,
                        void (*on_free)(void *arg, struct generation *generation), void *arg);
/* Whether its Lua state is full for good, or met the hard cap of memory: another is to serve. */
bool generation_is_spent(const struct generation *generation);
const struct config *generation_config(const struct generation *generation);
unsigned generation_number(const struct generation *generation);

/* What weir check prints: providers, models with their targets. */
void generation_describe(struct generation *generation, struct buf *out);

/* The settings as JSON, without a secret. */
void generation_show(struct generation *generation, struct buf *out);

/* GET /v1/models, as JSON: those of which may says so. */
void generation_models(const struct generation *generation,
                       bool (*may)(void *arg, struct slice model), void *arg, struct buf *out);

/* GET /v1/models/NAME; false when no such model is configured. */
bool generation_model(const struct generation *generation, struct slice name, struct buf *out);

/* Whether any policy serves the model. */
bool generation_serves(const struct generation *generation, struct slice model);
