/* serving.h -- a generation that is ready to serve, where its bytes come from the disk or from a
 * snapshot. */
/* SPDX-License-Identifier: MIT */
#pragma once

struct buf;
struct generation;
struct limits;
struct sources;

/* Its providers' origins, TLS and meters are made.  NULL: each error is a line in problems. */
struct generation *serving_load(const char *path, unsigned number, struct limits *limits,
                                struct sources *sources, struct buf *problems);

/* Frees what serving_load made beside the generation itself, which is about to be freed.  It does
 * so by itself where nobody else called generation_on_free. */
void serving_unload(struct generation *generation);
