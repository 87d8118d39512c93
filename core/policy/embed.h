/* embed.h -- Weir's own Lua files, carried inside the binary as text.
 *
 * The table is written at build time by tools/embed.lua: the modules of
 * lua/weir/ ("weir.config") and the shipped policies ("policies.waterfall"). */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <stddef.h>

struct embed_file {
    const char *module; /* what require() calls it */
    const char *path;   /* where it is in the source tree: the chunk's name in tracebacks */
    const char *text;   /* NUL-terminated besides */
    size_t len;         /* bytes of text */
};

extern const struct embed_file embed_files[];
extern const size_t embed_count;
