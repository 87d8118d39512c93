/* json_string.c -- the strings of json.h: what they stand for, and back. */
/* SPDX-License-Identifier: MIT */
#include "json.h"
#include "json_text.h"
#include <stdint.h>

enum {
    SURROGATE_HIGH = 0xd800, /* the first half of a pair: up to 0xdbff */
    SURROGATE_LOW = 0xdc00,  /* the second: up to 0xdfff */
    SURROGATE_END = 0xe000,
};

static size_t read_escape(struct slice text, uint32_t *code);
static size_t put_utf8(uint32_t code, char *to);
static void quote_special(struct buf *out, unsigned char byte);

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
    size_t length = strlen(text);

    if (inside.len < length) /* escapes only make it longer: most names differ at once */
        return false;
    if (!memchr(inside.ptr, '\\', inside.len))
        return inside.len == length && memcmp(inside.ptr, text, length) == 0;

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
        const char *special = json_step_prose(ptr, end);
        buf_add(out, (struct slice){ptr, (size_t)(special - ptr)});
        ptr = special;
        if (ptr == end)
            break;
        size_t len = json_utf8_len(ptr, end);
        if (len > 1)
            buf_add(out, (struct slice){ptr, len});
        else
            quote_special(out, (unsigned char)*ptr);
        ptr += len ? len : 1;
    }
    buf_add_char(out, '"');
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
    int unit = json_read_unit(text);
    *code = unit < 0 ? 0 : (uint32_t)unit;
    if (unit < 0)
        return text.len; /* was never checked: the string ends here, as if at a NUL */
    if (unit < SURROGATE_HIGH || unit >= SURROGATE_LOW)
        return 6;
    int low = json_read_unit((struct slice){text.ptr + 6, text.len - 6});
    if (low < SURROGATE_LOW || low >= SURROGATE_END)
        return 6;
    *code = 0x10000 + ((uint32_t)(unit - SURROGATE_HIGH) << 10) + (uint32_t)(low - SURROGATE_LOW);
    return 12;
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
