/* mem.c -- the one place that allocates. */
/* SPDX-License-Identifier: MIT */
#include "mem.h"
#include <stdlib.h>
#include <string.h>

void *mem_new(size_t size)
{
    void *ptr = calloc(1, size ? size : 1);
    if (!ptr)
        abort();
    return ptr;
}

void *mem_resize(void *ptr, size_t size)
{
    ptr = realloc(ptr, size ? size : 1);
    if (!ptr)
        abort();
    return ptr;
}

char *mem_dup(struct slice text)
{
    char *copy = mem_resize(NULL, text.len + 1);
    if (text.len)
        memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return copy;
}

void mem_free(void *ptr)
{
    free(ptr);
}
