/* slice.h -- a borrowed run of bytes: a pointer and a length, no terminator.
 *
 * A slice owns nothing.  Whoever hands one out says how long it is good for. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct slice {
    const char *ptr; /* may be NULL when len is 0 */
    size_t len;      /* bytes */
};

#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})

static inline struct slice slice_of(const char *text)
{
    return (struct slice){text, strlen(text)};
}

static inline bool slice_is(struct slice slice, const char *text)
{
    size_t len = strlen(text);
    return slice.len == len && (len == 0 || memcmp(slice.ptr, text, len) == 0);
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* Without the blanks and tabs around it: what HTTP calls optional white space. */
static inline struct slice slice_trim(struct slice text)
{
    while (text.len && (*text.ptr == ' ' || *text.ptr == '\t')) {
        text.ptr++;
        text.len--;
    }
    while (text.len && (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t'))
        text.len--;
    return text;
}

/* The start of a text in UTF-8: most bytes, or fewer, so that no character is cut. */
static inline struct slice slice_cut(struct slice text, size_t most)
{
    size_t len = most;

    if (text.len <= most)
        return text;
    for (int i = 0; i < 3 && len && ((unsigned char)text.ptr[len] & 0xc0) == 0x80; i++)
        len--;
    return (struct slice){text.ptr, len};
}

/* What a hexadecimal digit stands for; -1: it is none. */
static inline int hex_digit(char c)
{
    char lower = (char)(c | 0x20);

    if (c >= '0' && c <= '9')
        return c - '0';
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* A number's digits, at the end of room. */
static inline struct slice slice_number(char room[static 24], uint64_t number, unsigned base)
{
    char *at = room + 24;

    do {
        *--at = "0123456789abcdef"[number % base];
        number /= base;
    } while (number);
    return (struct slice){at, (size_t)(room + 24 - at)};
}

/* Copies text, cut where it is longer, with its end; snprintf's "%s" costs 500 instructions. */
static inline void text_copy(char *to, size_t size, const char *text)
{
    size_t len = strlen(text);
    if (len >= size)
        len = size - 1;
    memcpy(to, text, len);
    to[len] = '\0';
}

/* FNV-1a, 64 bits: for tables in memory, not for secrets. */
static inline uint64_t slice_hash(struct slice slice)
{
    uint64_t hash = 1469598103934665603u;

    for (size_t i = 0; i < slice.len; i++)
        hash = (hash ^ (unsigned char)slice.ptr[i]) * 1099511628211u;
    return hash;
}
