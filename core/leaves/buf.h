/* buf.h -- bytes that grow at the end and are taken from the front.
 *
 * One contiguous block: buf.ptr .. buf.ptr + buf.len are the bytes.  A plain
 * value; whoever holds it calls buf_free.  All zero is an empty buffer. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "slice.h"

struct buf {
    char *ptr;       /* first byte that counts */
    size_t len;      /* bytes that count */
    char *base;      /* what was allocated */
    size_t capacity; /* bytes allocated at base */
};

/* Room for at least more bytes after the end; gives where they go. */
char *buf_reserve(struct buf *buf, size_t more);

void buf_add(struct buf *buf, struct slice bytes);
void buf_add_char(struct buf *buf, char c);
void buf_add_text(struct buf *buf, const char *text);
void buf_add_number(struct buf *buf, uint64_t number); /* in decimal digits */
void buf_add_format(struct buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Takes len bytes from the front; slices into what is left stay good. */
void buf_drop(struct buf *buf, size_t len);

void buf_clear(struct buf *buf); /* forgets the bytes, keeps the room */
void buf_free(struct buf *buf);  /* gives the room back; buf is empty again */

struct slice buf_slice(const struct buf *buf); /* borrowed until the next change */
