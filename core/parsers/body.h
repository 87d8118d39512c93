/* body.h -- a request body as the bytes that came, with the spans of its
 * top-level members, and edits that touch only those spans.
 *
 * Every byte that no edit names leaves as it came.  Nothing here builds a tree
 * or prints JSON again.  It knows nothing of HTTP, providers or Lua. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "json.h"
#include "leaves/buf.h"
#include "leaves/err.h"
#include "leaves/slice.h"

enum { BODY_MAX_MEMBERS = 1024 }; /* at the top level; OpenAI knows about forty */

struct body_member {
    struct slice name;  /* as written, between the quotes */
    struct slice value; /* the value's span */
    enum json_kind kind;
};

struct body_fault {    /* why a body was refused, for the client to read */
    size_t offset;     /* bytes from the start */
    char member[64];   /* the member it is about, or "" */
    char message[160]; /* one sentence, without the offset */
};

struct body {
    struct slice text; /* borrowed for the body's life */
    struct body_member *members;
    size_t count;
};

/* Proves that text is one strict JSON object and finds its members.  Refused
 * with a reason in fault: syntax, depth over JSON_MAX_DEPTH, bad UTF-8,
 * trailing bytes, more than BODY_MAX_MEMBERS, \u0000 in a name or in the value
 * of "model" (ERR_NUL), and of the members that Weir reads a duplicate
 * (ERR_DUPLICATE) or one whose name is written with escapes (ERR_TYPE).  On
 * failure there is nothing to fini. */
MUST_CHECK enum err body_init(struct body *body, struct slice text, struct body_fault *fault);
void body_fini(struct body *body);

/* The member of that (decoded) name, the last of several, or NULL. */
const struct body_member *body_get(const struct body *body, const char *name);

/* The decoded text of a string member appended to out; ERR_TYPE if it is absent or no string. */
MUST_CHECK enum err body_get_string(const struct body *body, const char *name, struct buf *out);

/* True when the member is the literal true. */
bool body_is_true(const struct body *body, const char *name);

/* A list of changes, applied to a body by body_write.  A plain value; all zero
 * is empty; the texts are copied.  A name that the body has several times is
 * changed or dropped everywhere. */
struct body_edit {
    char *name;  /* top-level member, decoded */
    char *inner; /* a member of that object, decoded, or NULL for the whole member */
    char *value; /* JSON text, or NULL to drop the member */
    size_t value_len;
};
struct body_edits {
    struct body_edit *items;
    size_t count;
    size_t capacity;
};

/* Replaces the member, or adds it after the last when the body has none.  A later
 * edit of a member overrides an earlier one.  value must be valid JSON. */
void body_edits_set(struct body_edits *edits, const char *name, struct slice value);

/* Takes the member out, with its comma; nothing if it is absent. */
void body_edits_drop(struct body_edits *edits, const char *name);

/* Sets or adds inner within the object member name; makes the object when it is absent or
 * null, and leaves a value of another kind as it is.  Applied after set and drop of the
 * same name. */
void body_edits_set_inner(struct body_edits *edits, const char *name, const char *inner,
                          struct slice value);

/* All of from's edits, after those that are there. */
void body_edits_add(struct body_edits *edits, const struct body_edits *from);
void body_edits_free(struct body_edits *edits);

/* The text with the edits applied, appended to out. */
void body_write(const struct body *body, const struct body_edits *edits, struct buf *out);
