/* buf.c -- growing bytes.  Taking from the front only moves ptr; the room in
 * front is won back when the block would have to grow or runs empty. */
/* SPDX-License-Identifier: MIT */
#include "buf.h"
#include "mem.h"
#include <stdarg.h>
#include <stdio.h>

enum { BUF_FIRST = 256 };

char *buf_reserve(struct buf *buf, size_t more)
{
    size_t front = buf->base ? (size_t)(buf->ptr - buf->base) : 0;

    if (front + buf->len + more <= buf->capacity && buf->base)
        return buf->ptr + buf->len;
    if (front && buf->len + more <= buf->capacity) {
        mem_copy(buf->base, buf->ptr, buf->len);
        buf->ptr = buf->base;
        return buf->ptr + buf->len;
    }

    size_t capacity = buf->capacity ? buf->capacity : BUF_FIRST;
    while (capacity < buf->len + more)
        capacity *= 2;
    char *base = mem_resize(NULL, capacity);
    mem_copy(base, buf->ptr, buf->len);
    mem_free(buf->base);
    buf->base = buf->ptr = base;
    buf->capacity = capacity;
    return buf->ptr + buf->len;
}

void buf_add(struct buf *buf, struct slice bytes)
{
    if (bytes.len == 0)
        return;
    mem_copy(buf_reserve(buf, bytes.len), bytes.ptr, bytes.len);
    buf->len += bytes.len;
}

void buf_add_char(struct buf *buf, char c)
{
    *buf_reserve(buf, 1) = c;
    buf->len++;
}

void buf_add_text(struct buf *buf, const char *text)
{
    buf_add(buf, slice_of(text));
}

void buf_add_number(struct buf *buf, uint64_t number)
{
    char room[24];

    buf_add(buf, slice_number(room, number, 10));
}

void buf_add_format(struct buf *buf, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (len <= 0)
        return;
    char *to = buf_reserve(buf, (size_t)len + 1);
    va_start(args, format);
    vsnprintf(to, (size_t)len + 1, format, args);
    va_end(args);
    buf->len += (size_t)len;
}

void buf_drop(struct buf *buf, size_t len)
{
    buf->ptr += len;
    buf->len -= len;
    if (buf->len == 0)
        buf->ptr = buf->base;
}

void buf_clear(struct buf *buf)
{
    buf->ptr = buf->base;
    buf->len = 0;
}

void buf_free(struct buf *buf)
{
    mem_free(buf->base);
    *buf = (struct buf){0};
}

struct slice buf_slice(const struct buf *buf)
{
    return (struct slice){buf->ptr, buf->len};
}
