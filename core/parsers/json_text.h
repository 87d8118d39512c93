/* json_text.h -- bytes of JSON text, for the files of json: which ones end a
 * run, how long a UTF-8 sequence is, what \uXXXX says.
 *
 * Inline, and by blocks where it pays: most bytes of a request are prose inside
 * strings, and most white space is indentation. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/slice.h"
#if defined(__SSE2__) && !defined(JSON_SCALAR)
#include <emmintrin.h>

enum { JSON_BLOCK = 16 }; /* bytes that are looked at together */

/* A bit for each byte of a block that a string cannot simply hold: a quote, a
 * backslash, a control byte, or one of a UTF-8 sequence. */
static inline unsigned json_find_special(const char *ptr)
{
    __m128i block = _mm_loadu_si128((const __m128i *)ptr);
    __m128i backslash = _mm_cmpeq_epi8(block, _mm_set1_epi8('\\'));
    /* x ^ 2 makes 0x20 of a quote alone, leaves control bytes below that and those from 0x80
     * on negative: as signed bytes these are the ones below 0x21, so that less 0x21 (never
     * past -0x80) they, and no others, have the sign that the mask is made of */
    __m128i other = _mm_xor_si128(block, _mm_set1_epi8(2));
    other = _mm_subs_epi8(other, _mm_set1_epi8(0x21));
    return (unsigned)_mm_movemask_epi8(_mm_or_si128(other, backslash));
}

/* With how many spaces a block begins. */
static inline unsigned json_count_spaces(const char *ptr)
{
    __m128i block = _mm_loadu_si128((const __m128i *)ptr);
    int spaces = _mm_movemask_epi8(_mm_cmpeq_epi8(block, _mm_set1_epi8(' ')));
    return (unsigned)__builtin_ctz(~(unsigned)spaces);
}

/* With how many digits a block begins. */
static inline unsigned json_count_digits(const char *ptr)
{
    __m128i block = _mm_loadu_si128((const __m128i *)ptr);
    __m128i value = _mm_sub_epi8(block, _mm_set1_epi8('0')); /* unsigned: 0 to 9 of a digit */
    __m128i least = _mm_min_epu8(value, _mm_set1_epi8(9));
    int digits = _mm_movemask_epi8(_mm_cmpeq_epi8(value, least));
    return (unsigned)__builtin_ctz(~(unsigned)digits);
}
#else
enum { JSON_BLOCK = 1 };

static inline unsigned json_find_special(const char *ptr)
{
    return (signed char)*ptr < ' ' || *ptr == '"' || *ptr == '\\';
}

static inline unsigned json_count_spaces(const char *ptr)
{
    return *ptr == ' ';
}

static inline unsigned json_count_digits(const char *ptr)
{
    return *ptr >= '0' && *ptr <= '9';
}
#endif

/* The place of the first bit. */
static inline size_t json_first(unsigned found)
{
    return (size_t)__builtin_ctzl(found);
}

/* Over what a string can simply hold: to the first byte that is special, or end. */
static inline const char *json_step_prose(const char *ptr, const char *end)
{
    if (end - ptr >= JSON_BLOCK) {
        const char *last = end - JSON_BLOCK;
        do {
            unsigned found = json_find_special(ptr);
            if (found)
                return ptr + json_first(found);
            ptr += JSON_BLOCK;
        } while (ptr <= last);
    }
    while (ptr < end && (signed char)*ptr >= ' ' && *ptr != '"' && *ptr != '\\')
        ptr++;
    return ptr;
}

static inline const char *json_step_digits(const char *ptr, const char *end)
{
    while (end - ptr >= JSON_BLOCK) {
        unsigned count = json_count_digits(ptr);
        ptr += count;
        if (count < JSON_BLOCK)
            return ptr;
    }
    while (ptr < end && *ptr >= '0' && *ptr <= '9')
        ptr++;
    return ptr;
}

/* Over white space, which is mostly absent, or indents a line. */
static inline const char *json_step_space(const char *ptr, const char *end)
{
    for (; ptr < end && (unsigned char)*ptr <= ' '; ptr++) {
        if (*ptr == '\n' && end - ptr > JSON_BLOCK)
            ptr += json_count_spaces(ptr + 1);
        else if (*ptr != ' ' && *ptr != '\n' && *ptr != '\r' && *ptr != '\t')
            break;
    }
    return ptr;
}

/* Bytes of the UTF-8 sequence at ptr (Unicode 15, table 3-7), 0 if it is none. */
static inline size_t json_utf8_len(const char *ptr, const char *end)
{
    const unsigned char *byte = (const unsigned char *)ptr;
    unsigned char low = 0x80, high = 0xbf;

    if (*byte < 0x80)
        return 1;
    if (*byte < 0xc2 || *byte > 0xf4)
        return 0;
    size_t len = *byte < 0xe0 ? 2 : *byte < 0xf0 ? 3 : 4;
    if ((size_t)(end - ptr) < len)
        return 0;
    switch (*byte) {
    case 0xe0: low = 0xa0; break;  /* below: overlong */
    case 0xed: high = 0x9f; break; /* above: surrogates */
    case 0xf0: low = 0x90; break;  /* below: overlong */
    case 0xf4: high = 0x8f; break; /* above: past U+10FFFF */
    }
    if (byte[1] < low || byte[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++)
        if ((byte[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

/* The 16 bits of the \uXXXX that text begins with, -1 if it does not. */
static inline int json_read_unit(struct slice text)
{
    int unit = 0;

    if (text.len < 6 || text.ptr[0] != '\\' || text.ptr[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        int digit = hex_digit(text.ptr[i]);
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}
