/* json.c -- the strict scanner.
 *
 * step_ functions take a place in the text and give the place behind what they
 * stepped over, or NULL after fail().  Nesting costs no C stack: which of the
 * open containers are objects is a bit each, for as long as one value is
 * stepped over. */
/* SPDX-License-Identifier: MIT */
#include "json.h"
#include "json_plain.h"
#include "json_text.h"
#include <stdint.h>

struct nest { /* a set bit: the container at that depth is an object */
    uint64_t objects[JSON_MAX_DEPTH / 64];
};

static const char *fail(struct json *json, const char *at, enum err err);
static inline bool enter(struct json *json, char opening);
static bool refuse(struct json *json);
static bool next(struct json *json, char closing);
static struct slice skip(struct json *json);
static const char *step_value(struct json *json, const char *ptr);
static const char *step_down(struct json *json, const char *ptr, struct nest *nest);
static const char *step_up(struct json *json, const char *ptr, const struct nest *nest, int floor);
static const char *step_scalar(struct json *json, const char *ptr);
static const char *step_name(struct json *json, const char *ptr, const char **name_end);
static const char *step_string(struct json *json, const char *ptr);
static const char *step_escape(struct json *json, const char *ptr);
static const char *step_utf8(struct json *json, const char *ptr);
static const char *step_number(struct json *json, const char *ptr);
static const char *step_digits(struct json *json, const char *ptr);
static const char *step_literal(struct json *json, const char *ptr, struct slice word);

/* True of a sequence of three bytes, as most of the world's scripts have:
 * 1110xxxx 10xxxxxx 10xxxxxx, where under 0xe0 the second byte has bit 5, and
 * under 0xed has not.  Without the branches of json_utf8_len. */
static inline bool is_common_utf8(const char *ptr, const char *end)
{
    if (end - ptr < 3)
        return false;
    const unsigned char *byte = (const unsigned char *)ptr;
    uint32_t bytes = byte[0] | (uint32_t)byte[1] << 8 | (uint32_t)byte[2] << 16;
    return (bytes & 0xc0c0f0) == 0x8080e0 && (bytes & 0x200f) != 0 && (bytes & 0x200f) != 0x200d;
}

struct json json_init(struct slice text)
{
    const char *begin = text.ptr ? text.ptr : "";
    return (struct json){.ptr = begin, .end = begin + text.len, .begin = begin};
}

enum json_kind json_peek(struct json *json)
{
    static const unsigned char KINDS[256] = {
        ['n'] = JSON_NULL,   ['t'] = JSON_TRUE,   ['f'] = JSON_FALSE,  ['"'] = JSON_STRING,
        ['['] = JSON_ARRAY,  ['{'] = JSON_OBJECT, ['-'] = JSON_NUMBER, ['0'] = JSON_NUMBER,
        ['1'] = JSON_NUMBER, ['2'] = JSON_NUMBER, ['3'] = JSON_NUMBER, ['4'] = JSON_NUMBER,
        ['5'] = JSON_NUMBER, ['6'] = JSON_NUMBER, ['7'] = JSON_NUMBER, ['8'] = JSON_NUMBER,
        ['9'] = JSON_NUMBER,
    };

    if (json->err)
        return JSON_NONE;
    json->ptr = json_step_space(json->ptr, json->end);
    if (json->ptr == json->end)
        return JSON_NONE;
    return KINDS[(unsigned char)*json->ptr];
}

/* The plain case at once, perhaps behind a space. */
struct slice json_skip(struct json *json)
{
    const char *from = json_step_space(json->ptr, json->end);
    const char *to = json->place == JSON_AT_VALUE ? json_plain_value(from, json->end) : NULL;

    if (!to)
        return skip(json);
    json->ptr = to;
    json->place = JSON_AT_NEXT;
    json->escaped = false;
    return (struct slice){from, (size_t)(to - from)};
}

bool json_enter_object(struct json *json)
{
    return enter(json, '{') || refuse(json);
}

bool json_enter_array(struct json *json)
{
    return enter(json, '[') || refuse(json);
}

bool json_open_object(struct json *json)
{
    if (enter(json, '{'))
        return true;
    json_skip(json);
    return false;
}

bool json_open_array(struct json *json)
{
    if (enter(json, '['))
        return true;
    json_skip(json);
    return false;
}

bool json_next_member(struct json *json, struct slice *name)
{
    return json_plain_next_member(json, name);
}

bool json_slow_next_member(struct json *json, struct slice *name)
{
    const char *name_end;

    if (json->place == JSON_AT_VALUE)
        skip(json);
    if (!next(json, '}'))
        return false;
    const char *from = json->ptr;
    const char *to = step_name(json, from, &name_end);
    if (!to)
        return false;
    *name = (struct slice){from + 1, (size_t)(name_end - from) - 1};
    json->ptr = to;
    return true;
}

bool json_next_element(struct json *json)
{
    if (json->place == JSON_AT_VALUE)
        skip(json);
    return next(json, ']');
}

enum err json_finish(struct json *json)
{
    if (json->err)
        return json->err;
    json->ptr = json_step_space(json->ptr, json->end);
    if (json->ptr != json->end)
        fail(json, json->ptr, ERR_TRAILING);
    return json->err;
}

enum err json_check(struct slice text, size_t *offset)
{
    struct json json = json_init(text);

    json_skip(&json);
    enum err err = json_finish(&json);
    *offset = (size_t)(json.ptr - json.begin);
    return err;
}

static const char *fail(struct json *json, const char *at, enum err err)
{
    json->ptr = at;
    json->err = err;
    json->place = JSON_FAILED;
    return NULL;
}

/* False if no such container opens here. */
static inline bool enter(struct json *json, char opening)
{
    const char *ptr = json_step_space(json->ptr, json->end);

    if (ptr == json->end || *ptr != opening || json->place != JSON_AT_VALUE)
        return false;
    if (json->depth == JSON_MAX_DEPTH)
        return fail(json, ptr, ERR_TOO_DEEP);
    json->ptr = ptr + 1;
    json->depth++;
    json->place = JSON_AT_FIRST;
    return true;
}

/* What comes next is not what had to; gives false. */
static bool refuse(struct json *json)
{
    enum json_kind kind = json_peek(json);

    if (!json->err)
        fail(json, json->ptr, kind == JSON_NONE ? ERR_SYNTAX : ERR_TYPE);
    return false;
}

/* Moves to the next member or element; false when the container closes here. */
static bool next(struct json *json, char closing)
{
    if (json->err)
        return false;
    const char *ptr = json_step_space(json->ptr, json->end);
    if (ptr == json->end)
        return fail(json, ptr, ERR_SYNTAX);
    if (*ptr == closing) {
        json->ptr = ptr + 1;
        json->depth--;
        json->place = JSON_AT_NEXT;
        return false;
    }
    if (json->place == JSON_AT_NEXT) {
        if (*ptr != ',')
            return fail(json, ptr, ERR_SYNTAX);
        ptr = json_step_space(ptr + 1, json->end);
        if (ptr < json->end && *ptr == closing)
            return fail(json, ptr, ERR_SYNTAX);
    }
    json->ptr = ptr;
    json->place = JSON_AT_VALUE;
    return true;
}

static struct slice skip(struct json *json)
{
    if (json->err)
        return (struct slice){0};
    const char *from = json_step_space(json->ptr, json->end);
    const char *to = step_value(json, from);
    if (!to)
        return (struct slice){0};
    json->ptr = to;
    json->place = JSON_AT_NEXT;
    return (struct slice){from, (size_t)(to - from)};
}

static const char *step_value(struct json *json, const char *ptr)
{
    struct nest nest = {0};
    int floor = json->depth;

    do {
        ptr = step_down(json, ptr, &nest);
        if (ptr)
            ptr = step_up(json, ptr, &nest, floor);
    } while (ptr && json->depth > floor);
    return ptr;
}

/* Opens containers until a scalar is stepped over or the container is empty. */
static const char *step_down(struct json *json, const char *ptr, struct nest *nest)
{
    for (;;) {
        ptr = json_step_space(ptr, json->end);
        if (ptr == json->end || (*ptr != '{' && *ptr != '['))
            return step_scalar(json, ptr);

        if (json->depth == JSON_MAX_DEPTH)
            return fail(json, ptr, ERR_TOO_DEEP);
        bool object = *ptr == '{';
        uint64_t bit = (uint64_t)1 << (json->depth % 64);
        uint64_t *objects = &nest->objects[json->depth / 64];
        *objects = object ? *objects | bit : *objects & ~bit;
        json->depth++;

        ptr = json_step_space(ptr + 1, json->end);
        if (ptr < json->end && *ptr == (object ? '}' : ']'))
            return ptr;
        if (object)
            ptr = step_name(json, ptr, NULL);
        if (!ptr)
            return NULL;
    }
}

/* Closes containers that end here, up to floor, or steps to the next value. */
static const char *step_up(struct json *json, const char *ptr, const struct nest *nest, int floor)
{
    while (json->depth > floor) {
        int at = json->depth - 1;
        bool object = nest->objects[at / 64] >> (at % 64) & 1;

        ptr = json_step_space(ptr, json->end);
        if (ptr == json->end)
            return fail(json, ptr, ERR_SYNTAX);
        if (*ptr == ',')
            return object ? step_name(json, json_step_space(ptr + 1, json->end), NULL) : ptr + 1;
        if (*ptr != (object ? '}' : ']'))
            return fail(json, ptr, ERR_SYNTAX);
        json->depth--;
        ptr++;
    }
    return ptr;
}

static const char *step_scalar(struct json *json, const char *ptr)
{
    if (ptr == json->end)
        return fail(json, ptr, ERR_SYNTAX);
    switch (*ptr) {
    case '"': return step_string(json, ptr + 1);
    case 'n': return step_literal(json, ptr, SLICE("null"));
    case 't': return step_literal(json, ptr, SLICE("true"));
    case 'f': return step_literal(json, ptr, SLICE("false"));
    }
    return step_number(json, ptr);
}

/* A member's name and its colon; *name_end, if wanted, is the closing quote. */
static const char *step_name(struct json *json, const char *ptr, const char **name_end)
{
    if (ptr == json->end || *ptr != '"')
        return fail(json, ptr, ERR_SYNTAX);
    ptr = step_string(json, ptr + 1);
    if (!ptr)
        return NULL;
    if (name_end)
        *name_end = ptr - 1;
    ptr = json_step_space(ptr, json->end);
    if (ptr == json->end || *ptr != ':')
        return fail(json, ptr, ERR_SYNTAX);
    return ptr + 1;
}

/* From behind the opening quote to behind the closing one. */
static const char *step_string(struct json *json, const char *ptr)
{
    json->escaped = false;
    for (;;) {
        ptr = json_step_prose(ptr, json->end);
        if (ptr == json->end)
            return fail(json, ptr, ERR_SYNTAX);
        if (*ptr == '"')
            return ptr + 1;
        if (*ptr == '\\')
            ptr = step_escape(json, ptr);
        else if ((signed char)*ptr < 0)
            ptr = step_utf8(json, ptr);
        else
            return fail(json, ptr, ERR_SYNTAX);
        if (!ptr)
            return NULL;
    }
}

static const char *step_escape(struct json *json, const char *ptr)
{
    static const bool SHORT[256] = {['"'] = true, ['\\'] = true, ['/'] = true, ['b'] = true,
                                    ['f'] = true, ['n'] = true,  ['r'] = true, ['t'] = true};

    json->escaped = true;
    if (json->end - ptr >= 2 && SHORT[(unsigned char)ptr[1]])
        return ptr + 2;
    if (json_read_unit((struct slice){ptr, (size_t)(json->end - ptr)}) >= 0)
        return ptr + 6;
    return fail(json, ptr, ERR_SYNTAX);
}

/* All sequences up to the next ASCII byte. */
static const char *step_utf8(struct json *json, const char *ptr)
{
    while (ptr < json->end && (signed char)*ptr < 0) {
        size_t len = is_common_utf8(ptr, json->end) ? 3 : json_utf8_len(ptr, json->end);
        if (len == 0)
            return fail(json, ptr, ERR_UTF8);
        ptr += len;
    }
    return ptr;
}

static const char *step_number(struct json *json, const char *ptr)
{
    const char *end = json->end;

    if (*ptr == '-')
        ptr++;
    if (ptr < end && *ptr == '0')
        ptr++;
    else
        ptr = step_digits(json, ptr);
    if (ptr && ptr < end && *ptr == '.')
        ptr = step_digits(json, ptr + 1);
    if (ptr && ptr < end && (*ptr == 'e' || *ptr == 'E')) {
        ptr++;
        if (ptr < end && (*ptr == '+' || *ptr == '-'))
            ptr++;
        ptr = step_digits(json, ptr);
    }
    return ptr;
}

/* One digit at least. */
static const char *step_digits(struct json *json, const char *ptr)
{
    const char *to = json_step_digits(ptr, json->end);

    return to > ptr ? to : fail(json, ptr, ERR_SYNTAX);
}

static const char *step_literal(struct json *json, const char *ptr, struct slice word)
{
    if ((size_t)(json->end - ptr) < word.len || memcmp(ptr, word.ptr, word.len) != 0)
        return fail(json, ptr, ERR_SYNTAX);
    return ptr + word.len;
}
