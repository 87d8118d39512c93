/* sources.h -- the files that a generation is made of, as bytes.
 *
 * Either they come from the disk, and all that was looked for is kept, also
 * that it was not there; or from a snapshot of such a load, so that every
 * worker loads the same bytes whatever happens to the files meanwhile.  It
 * knows nothing of Lua. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"

struct sources;

/* Reads the disk. */
struct sources *sources_new(void);

/* Reads a snapshot; fd is borrowed, and not needed afterwards.  NULL when it is none. */
struct sources *sources_open(int fd);

bool sources_is_live(const struct sources *sources); /* not a snapshot */

/* Appends a file's bytes; else gives why not: borrowed until the next call.  A file of more than
 * max bytes is refused; any other kind than a plain file too if plain is set. */
const char *sources_read(struct sources *sources, const char *path, size_t max, bool plain,
                         struct buf *out);

/* Writes a snapshot of all that was read; false when it could not. */
bool sources_save(const struct sources *sources, int fd);

/* Every path that was looked for, also those that were not there. */
void sources_each(const struct sources *sources, void (*visit)(void *arg, const char *path),
                  void *arg);

/* Whether the disk has something else by now. */
bool sources_changed(const struct sources *sources);

size_t sources_count(const struct sources *sources); /* files that were there */

void sources_free(struct sources *sources); /* accepts NULL */
