/* mem.h -- allocation that cannot fail: it aborts instead; and copying.
 *
 * Nothing else in the core calls malloc, calloc, realloc, strdup. */
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

/* Like memcpy, at one speed wherever the two lie: for what may be large.  They
 * may overlap if to comes before from, and be NULL if len is 0. */
void mem_copy(void *to, const void *from, size_t len);
