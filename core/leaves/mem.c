/* mem.c -- the one place that allocates, and where large copies are made. */
/* SPDX-License-Identifier: MIT */
#include "mem.h"
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

enum {
    COPY_PIECE = 2048, /* bytes */
    STEP = 16,         /* classes up to SMALL are this far apart, those above double */
    SMALL = 1024,
    LARGE = 32 * 1024, /* bytes; larger blocks are not kept */
    CLASSES = SMALL / STEP + 5,
    KEPT_SMALL = 64, /* blocks of one class */
    KEPT_LARGE = 16,
};

/* ---- blocks kept by size ---- */

struct block {
    struct block *next;
};

static __thread struct {
    bool on;
    struct block *first[CLASSES];
    unsigned short count[CLASSES];
} pool;

void mem_pool_start(void)
{
#ifndef __SANITIZE_ADDRESS__ /* which has to see every block come and go */
    const char *said = getenv("WEIR_POOL");
    pool.on = !said || strcmp(said, "off") != 0;
#endif
}

/* The smallest class that holds size, 1 to LARGE. */
static size_t class_of(size_t size)
{
    if (size <= SMALL)
        return (size - 1) / STEP;
    return SMALL / STEP + (63 - (size_t)__builtin_clzll(size - 1)) - 10;
}

static size_t size_of(size_t class)
{
    return class < SMALL / STEP ? (class + 1) * STEP : (size_t)SMALL * 2 << (class - SMALL / STEP);
}

void *mem_lib_malloc(size_t size)
{
    if (!pool.on || size > LARGE)
        return malloc(size ? size : 1);
    size_t class = class_of(size ? size : 1);
    struct block *block = pool.first[class];
    if (!block)
        return malloc(size_of(class));
    pool.first[class] = block->next;
    pool.count[class]--;
    return block;
}

void mem_free(void *ptr)
{
    size_t size = pool.on && ptr ? malloc_usable_size(ptr) : 0;

    if (size < STEP || size >= LARGE * 2) {
        free(ptr);
        return;
    }
    size_t class = size <= SMALL + STEP ? size / STEP - 1 : class_of(size + 1) - 1;
    if (class >= CLASSES || size_of(class) > size ||
        pool.count[class] >= (class < SMALL / STEP ? KEPT_SMALL : KEPT_LARGE)) {
        free(ptr);
        return;
    }
    struct block *block = ptr;
    block->next = pool.first[class];
    pool.first[class] = block;
    pool.count[class]++;
}

void *mem_lib_calloc(size_t count, size_t size)
{
    size_t bytes;

    if (__builtin_mul_overflow(count, size, &bytes))
        return NULL;
    void *ptr = mem_lib_malloc(bytes);
    if (ptr)
        memset(ptr, 0, bytes);
    return ptr;
}

void *mem_lib_realloc(void *ptr, size_t size)
{
    if (!pool.on || !ptr)
        return ptr ? realloc(ptr, size ? size : 1) : mem_lib_malloc(size);
    size_t old = malloc_usable_size(ptr);
    if (size <= old && size >= old / 4)
        return ptr;
    if (size > LARGE && old > LARGE)
        return realloc(ptr, size);
    void *moved = mem_lib_malloc(size);
    if (!moved)
        return NULL;
    mem_copy(moved, ptr, size < old ? size : old);
    mem_free(ptr);
    return moved;
}

char *mem_lib_strdup(const char *text)
{
    size_t len = strlen(text) + 1;
    char *copy = mem_lib_malloc(len);

    return copy ? memcpy(copy, text, len) : NULL;
}

/* ---- what cannot fail ---- */

void *mem_new(size_t size)
{
    void *ptr = mem_lib_calloc(1, size);
    if (!ptr)
        abort();
    return ptr;
}

void *mem_resize(void *ptr, size_t size)
{
    ptr = mem_lib_realloc(ptr, size);
    if (!ptr)
        abort();
    return ptr;
}

char *mem_dup(struct slice text)
{
    char *copy = mem_resize(NULL, text.len + 1);
    mem_copy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    return copy;
}

/* In pieces, because glibc (2.36) makes one "rep movsb" of a copy above 2112 bytes, and on
 * AMD's Zen 3 that is slow where the target is, modulo a page, 1 to 31 bytes past the
 * source: what two fresh large blocks and a longer model name give.  In cache, 100 KB
 * take 34 us there and 2.1 to 4.2 us elsewhere, in pieces 2.1 us everywhere; 4 KB take
 * 1.4 us and 0.05 to 0.1 us, in pieces 0.04 to 0.08 us. */
void mem_copy(void *to, const void *from, size_t len)
{
    char *target = to;
    const char *source = from;

    for (; len > COPY_PIECE; len -= COPY_PIECE) {
        memmove(target, source, COPY_PIECE);
        target += COPY_PIECE;
        source += COPY_PIECE;
    }
    if (len)
        memmove(target, source, len);
}
