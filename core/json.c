/* json.c -- the strict scanner.
 *
 * step_ functions take a place in the text and give the place behind what they
 * stepped over, or NULL after fail().  Nesting costs no C stack: which of the
 * open containers are objects is a bit each, for as long as one value is
 * stepped over.  Most bytes of a request are prose inside strings, so that
 * loop looks at sixteen of them at a time. */
/* SPDX-License-Identifier: MIT */
#include "json.h"
#include <stdint.h>
#if defined(__SSE2__) && !defined(JSON_SCALAR)
#include <emmintrin.h>
#endif

enum {
    SURROGATE_HIGH = 0xd800, /* the first half of a pair: up to 0xdbff */
    SURROGATE_LOW = 0xdc00,  /* the second: up to 0xdfff */
    SURROGATE_END = 0xe000,
};

struct nest { /* a set bit: the container at that depth is an object */
    uint64_t objects[JSON_MAX_DEPTH / 64];
};

static const char *fail(struct json *json, const char *at, enum err err);
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
static bool enter(struct json *json, char opening);
static bool next(struct json *json, char closing);
static size_t read_escape(struct slice text, uint32_t *code);
static int read_unit(struct slice text);
static size_t put_utf8(uint32_t code, char *to);
static void quote_special(struct buf *out, unsigned char byte);

/* White space is mostly absent: the first test tells. */
static inline const char *step_space(const char *ptr, const char *end)
{
    while (ptr < end && (unsigned char)*ptr <= ' ' &&
           (*ptr == ' ' || *ptr == '\n' || *ptr == '\r' || *ptr == '\t'))
        ptr++;
    return ptr;
}

/* The next byte that a string cannot simply hold: a quote, a backslash, a
 * control byte, or the start of a UTF-8 sequence. */
static inline const char *find_special(const char *ptr, const char *end)
{
#if defined(__SSE2__) && !defined(JSON_SCALAR)
    const __m128i space = _mm_set1_epi8(' ');
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i backslash = _mm_set1_epi8('\\');

    for (; end - ptr >= 16; ptr += 16) {
        __m128i block = _mm_loadu_si128((const __m128i *)ptr);
        /* as signed bytes, control bytes and those from 0x80 on are both below a space */
        __m128i found = _mm_cmplt_epi8(block, space);
        found = _mm_or_si128(found, _mm_cmpeq_epi8(block, quote));
        found = _mm_or_si128(found, _mm_cmpeq_epi8(block, backslash));
        int mask = _mm_movemask_epi8(found);
        if (mask)
            return ptr + __builtin_ctz((unsigned)mask);
    }
#endif
    while (ptr < end && (signed char)*ptr >= ' ' && *ptr != '"' && *ptr != '\\')
        ptr++;
    return ptr;
}

/* Bytes of the UTF-8 sequence at ptr (Unicode 15, table 3-7), 0 if it is none. */
static inline size_t utf8_len(const char *ptr, const char *end)
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

/* True of a sequence of three bytes, as most of the world's scripts have:
 * 1110xxxx 10xxxxxx 10xxxxxx, where under 0xe0 the second byte has bit 5, and
 * under 0xed has not.  Without the branches of utf8_len. */
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
    if (json->err)
        return JSON_NONE;
    json->ptr = step_space(json->ptr, json->end);
    if (json->ptr == json->end)
        return JSON_NONE;
    switch (*json->ptr) {
    case 'n': return JSON_NULL;
    case 't': return JSON_TRUE;
    case 'f': return JSON_FALSE;
    case '"': return JSON_STRING;
    case '[': return JSON_ARRAY;
    case '{': return JSON_OBJECT;
    case '-': return JSON_NUMBER;
    }
    return *json->ptr >= '0' && *json->ptr <= '9' ? JSON_NUMBER : JSON_NONE;
}

struct slice json_skip(struct json *json)
{
    if (json->err)
        return (struct slice){0};
    const char *from = step_space(json->ptr, json->end);
    const char *to = step_value(json, from);
    if (!to)
        return (struct slice){0};
    json->ptr = to;
    return (struct slice){from, (size_t)(to - from)};
}

bool json_enter_object(struct json *json)
{
    return enter(json, '{');
}

bool json_enter_array(struct json *json)
{
    return enter(json, '[');
}

bool json_next_member(struct json *json, struct slice *name)
{
    const char *name_end;

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
    return next(json, ']');
}

enum err json_finish(struct json *json)
{
    if (json->err)
        return json->err;
    json->ptr = step_space(json->ptr, json->end);
    if (json->ptr != json->end)
        json->err = ERR_TRAILING;
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

enum err json_unescape(struct slice inside, struct buf *out)
{
    size_t before = out->len;

    if (inside.len == 0)
        return ERR_OK;
    const char *end = inside.ptr + inside.len;
    for (const char *ptr = inside.ptr; ptr < end;) {
        const char *escape = memchr(ptr, '\\', (size_t)(end - ptr));
        const char *run_end = escape ? escape : end;
        buf_add(out, (struct slice){ptr, (size_t)(run_end - ptr)});
        ptr = run_end;
        if (!escape)
            break;

        uint32_t code;
        size_t len = read_escape((struct slice){ptr, (size_t)(end - ptr)}, &code);
        enum err err = code == 0 ? ERR_NUL : ERR_UTF8;
        if (code == 0 || (code >= SURROGATE_HIGH && code < SURROGATE_END)) {
            out->len = before;
            return err;
        }
        out->len += put_utf8(code, buf_reserve(out, 4));
        ptr += len;
    }
    return ERR_OK;
}

bool json_string_is(struct slice inside, const char *text)
{
    if (inside.len == 0 || (*inside.ptr != *text && *inside.ptr != '\\'))
        return inside.len == 0 && *text == '\0'; /* most names differ at once */
    if (!memchr(inside.ptr, '\\', inside.len))
        return slice_is(inside, text);

    const char *end = inside.ptr + inside.len;
    for (const char *ptr = inside.ptr; ptr < end;) {
        if (*ptr != '\\') {
            if (*text == '\0' || *ptr++ != *text++)
                return false;
            continue;
        }
        uint32_t code;
        char utf8[4];
        ptr += read_escape((struct slice){ptr, (size_t)(end - ptr)}, &code);
        size_t len = put_utf8(code, utf8);
        if (code == 0 || strncmp(text, utf8, len) != 0)
            return false;
        text += len;
    }
    return *text == '\0';
}

void json_quote(struct buf *out, struct slice text)
{
    if (text.len == 0) {
        buf_add_text(out, "\"\"");
        return;
    }
    const char *end = text.ptr + text.len;

    buf_reserve(out, text.len + 2);
    buf_add_char(out, '"');
    for (const char *ptr = text.ptr; ptr < end;) {
        const char *special = find_special(ptr, end);
        buf_add(out, (struct slice){ptr, (size_t)(special - ptr)});
        ptr = special;
        if (ptr == end)
            break;
        size_t len = utf8_len(ptr, end);
        if (len > 1)
            buf_add(out, (struct slice){ptr, len});
        else
            quote_special(out, (unsigned char)*ptr);
        ptr += len ? len : 1;
    }
    buf_add_char(out, '"');
}

static const char *fail(struct json *json, const char *at, enum err err)
{
    json->ptr = at;
    json->err = err;
    return NULL;
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
    json->fresh = false;
    return ptr;
}

/* Opens containers until a scalar is stepped over or the container is empty. */
static const char *step_down(struct json *json, const char *ptr, struct nest *nest)
{
    for (;;) {
        ptr = step_space(ptr, json->end);
        if (ptr == json->end || (*ptr != '{' && *ptr != '['))
            return step_scalar(json, ptr);

        if (json->depth == JSON_MAX_DEPTH)
            return fail(json, ptr, ERR_TOO_DEEP);
        bool object = *ptr == '{';
        uint64_t bit = (uint64_t)1 << (json->depth % 64);
        uint64_t *objects = &nest->objects[json->depth / 64];
        *objects = object ? *objects | bit : *objects & ~bit;
        json->depth++;

        ptr = step_space(ptr + 1, json->end);
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

        ptr = step_space(ptr, json->end);
        if (ptr == json->end)
            return fail(json, ptr, ERR_SYNTAX);
        if (*ptr == ',')
            return object ? step_name(json, step_space(ptr + 1, json->end), NULL) : ptr + 1;
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
    ptr = step_space(ptr, json->end);
    if (ptr == json->end || *ptr != ':')
        return fail(json, ptr, ERR_SYNTAX);
    return ptr + 1;
}

/* From behind the opening quote to behind the closing one. */
static const char *step_string(struct json *json, const char *ptr)
{
    json->escaped = false;
    for (;;) {
        ptr = find_special(ptr, json->end);
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
    if (read_unit((struct slice){ptr, (size_t)(json->end - ptr)}) >= 0)
        return ptr + 6;
    return fail(json, ptr, ERR_SYNTAX);
}

/* All sequences up to the next ASCII byte. */
static const char *step_utf8(struct json *json, const char *ptr)
{
    while (ptr < json->end && (signed char)*ptr < 0) {
        size_t len = is_common_utf8(ptr, json->end) ? 3 : utf8_len(ptr, json->end);
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
    const char *from = ptr;

    while (ptr < json->end && *ptr >= '0' && *ptr <= '9')
        ptr++;
    return ptr > from ? ptr : fail(json, ptr, ERR_SYNTAX);
}

static const char *step_literal(struct json *json, const char *ptr, struct slice word)
{
    if ((size_t)(json->end - ptr) < word.len || memcmp(ptr, word.ptr, word.len) != 0)
        return fail(json, ptr, ERR_SYNTAX);
    return ptr + word.len;
}

static bool enter(struct json *json, char opening)
{
    enum json_kind kind = json_peek(json);

    if (json->err)
        return false;
    if (kind == JSON_NONE)
        return fail(json, json->ptr, ERR_SYNTAX);
    if (*json->ptr != opening)
        return fail(json, json->ptr, ERR_TYPE);
    if (json->depth == JSON_MAX_DEPTH)
        return fail(json, json->ptr, ERR_TOO_DEEP);
    json->ptr++;
    json->depth++;
    json->fresh = true;
    return true;
}

/* Moves to the next member or element; false when the container closes here. */
static bool next(struct json *json, char closing)
{
    if (json->err)
        return false;
    const char *ptr = step_space(json->ptr, json->end);
    if (ptr == json->end)
        return fail(json, ptr, ERR_SYNTAX);
    if (*ptr == closing) {
        json->ptr = ptr + 1;
        json->depth--;
        json->fresh = false;
        return false;
    }
    if (!json->fresh) {
        if (*ptr != ',')
            return fail(json, ptr, ERR_SYNTAX);
        ptr = step_space(ptr + 1, json->end);
        if (ptr < json->end && *ptr == closing)
            return fail(json, ptr, ERR_SYNTAX);
    }
    json->ptr = ptr;
    json->fresh = false;
    return true;
}

/* Reads the escape that text begins with: a pair of surrogates is one code
 * point, a lone one stands for itself.  Gives its length in bytes. */
static size_t read_escape(struct slice text, uint32_t *code)
{
    static const char short_forms[] = "\"\\/bfnrt";
    static const char meanings[] = "\"\\/\b\f\n\r\t";

    if (text.len >= 2 && text.ptr[1] != 'u') {
        const char *form = strchr(short_forms, text.ptr[1]);
        *code = form ? (unsigned char)meanings[form - short_forms] : 0;
        return 2;
    }
    int unit = read_unit(text);
    *code = unit < 0 ? 0 : (uint32_t)unit;
    if (unit < 0)
        return text.len; /* was never checked: the string ends here, as if at a NUL */
    if (unit < SURROGATE_HIGH || unit >= SURROGATE_LOW)
        return 6;
    int low = read_unit((struct slice){text.ptr + 6, text.len - 6});
    if (low < SURROGATE_LOW || low >= SURROGATE_END)
        return 6;
    *code = 0x10000 + ((uint32_t)(unit - SURROGATE_HIGH) << 10) + (uint32_t)(low - SURROGATE_LOW);
    return 12;
}

/* The 16 bits of the \uXXXX that text begins with, -1 if it does not. */
static int read_unit(struct slice text)
{
    int unit = 0;

    if (text.len < 6 || text.ptr[0] != '\\' || text.ptr[1] != 'u')
        return -1;
    for (int i = 2; i < 6; i++) {
        char c = text.ptr[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0)
            return -1;
        unit = unit << 4 | digit;
    }
    return unit;
}

/* Writes code as UTF-8 (a lone surrogate too: it then equals nothing valid). */
static size_t put_utf8(uint32_t code, char *to)
{
    if (code < 0x80) {
        to[0] = (char)code;
        return 1;
    }
    size_t len = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xc0, 0xe0, 0xf0};
    for (size_t i = len - 1; i > 0; i--) {
        to[i] = (char)(0x80 | (code & 0x3f));
        code >>= 6;
    }
    to[0] = (char)(lead[len] | code);
    return len;
}

/* A byte that may not stand in a string as it is: escaped, or U+FFFD. */
static void quote_special(struct buf *out, unsigned char byte)
{
    switch (byte) {
    case '"': buf_add_text(out, "\\\""); return;
    case '\\': buf_add_text(out, "\\\\"); return;
    case '\b': buf_add_text(out, "\\b"); return;
    case '\f': buf_add_text(out, "\\f"); return;
    case '\n': buf_add_text(out, "\\n"); return;
    case '\r': buf_add_text(out, "\\r"); return;
    case '\t': buf_add_text(out, "\\t"); return;
    }
    if (byte < ' ')
        buf_add_format(out, "\\u%04x", byte);
    else
        buf_add_text(out, "\xef\xbf\xbd");
}
