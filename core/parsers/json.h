/* json.h -- a strict pull scanner over JSON text (RFC 8259).
 *
 * It walks the text once, front to back, and hands out spans; it builds no
 * tree and changes no byte.  What it accepts is exactly RFC 8259: no BOM, no
 * trailing comma, no control byte in a string, UTF-8 without overlong forms
 * or encoded surrogates (an escaped lone surrogate, "\ud800", is allowed by
 * the grammar and passes).  It knows nothing of requests. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/err.h"
#include "leaves/slice.h"

enum { JSON_MAX_DEPTH = 128 };

enum json_kind {
    JSON_NONE, /* not the start of any value */
    JSON_NULL,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT,
};

enum json_place {
    JSON_AT_VALUE, /* before the text's only value, a member's or an element */
    JSON_AT_FIRST, /* behind an opening bracket: no comma yet */
    JSON_AT_NEXT,  /* behind a value: a comma or a closing bracket comes */
    JSON_FAILED,   /* where err says */
};

struct json {              /* a plain value; the text is borrowed */
    const char *ptr;       /* the next byte to read */
    const char *end;       /* one past the last */
    const char *begin;     /* where the text began: offsets count from here */
    enum err err;          /* ERR_OK, or what stopped the scan at ptr: then nothing moves it */
    int depth;             /* containers that are open */
    enum json_place place; /* what the scan stands before, or behind */
    bool escaped;          /* the string or name last stepped over holds a backslash */
};

struct json json_init(struct slice text);

/* The kind of the value that comes next, after white space. */
enum json_kind json_peek(struct json *json);

/* Steps over one whole value, checking all of it; gives its span without
 * surrounding white space, or an empty slice with json->err set. */
struct slice json_skip(struct json *json);

/* Enter a container that comes next; false, with ERR_TYPE, if another kind does,
 * with ERR_SYNTAX if no value does. */
bool json_enter_object(struct json *json);
bool json_enter_array(struct json *json);

/* The same, but a value of another kind is stepped over. */
bool json_open_object(struct json *json);
bool json_open_array(struct json *json);

/* The next member's name, as written between its quotes (escapes and all), and
 * the scan stands before its value; the value of the last one is stepped over
 * if nobody has.  False at the closing brace, which is consumed, and false on
 * error: test json->err. */
bool json_next_member(struct json *json, struct slice *name);

/* True when an element comes next; the last one is stepped over if nobody has.
 * False at the closing bracket or on error. */
bool json_next_element(struct json *json);

/* After the last value: only white space may follow, else ERR_TRAILING. */
MUST_CHECK enum err json_finish(struct json *json);

/* Checks a whole document; *offset is where it fails. */
MUST_CHECK enum err json_check(struct slice text, size_t *offset);

/* The text that a string's inside (between the quotes, already checked) stands
 * for, appended to out as UTF-8.  \u0000 fails with ERR_NUL, a lone surrogate
 * with ERR_UTF8; out is then as it was. */
MUST_CHECK enum err json_unescape(struct slice inside, struct buf *out);

/* True when a string's inside stands for just this text, escapes resolved. */
bool json_string_is(struct slice inside, const char *text);

/* Appends text as a JSON string, quotes and all.  Bytes that are not UTF-8
 * become U+FFFD. */
void json_quote(struct buf *out, struct slice text);
