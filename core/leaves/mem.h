/* mem.h -- allocation that cannot fail: it aborts instead; and copying.
 *
 * Nothing else in the core calls malloc, calloc, realloc, strdup.  A worker's
 * thread keeps freed blocks by size for its next requests, and lets libevent and
 * libcurl do the same: a request allocates some 150 times, nearly always the same
 * sizes. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "slice.h"
#include <stddef.h>

/* Zeroed memory; the caller owns it and frees it with mem_free. */
void *mem_new(size_t size);

/* Like realloc; new bytes are not zeroed. */
void *mem_resize(void *ptr, size_t size);

/* A NUL-terminated copy that the caller owns. */
char *mem_dup(struct slice text);

void mem_free(void *ptr); /* accepts NULL */

/* From now on this thread keeps freed blocks, at most a few hundred KiB of them.  The
 * environment's WEIR_POOL=off leaves all to malloc, for tools that watch it. */
void mem_pool_start(void);

/* malloc's functions over the same, for libraries; these may be called by any thread, and
 * give NULL where malloc would. */
void *mem_lib_malloc(size_t size);
void *mem_lib_calloc(size_t count, size_t size);
void *mem_lib_realloc(void *ptr, size_t size);
char *mem_lib_strdup(const char *text);

/* Like memcpy, at one speed wherever the two lie: for what may be large.  They
 * may overlap if to comes before from, and be NULL if len is 0. */
void mem_copy(void *to, const void *from, size_t len);
