/* body.c -- spans and splices.
 *
 *     {  "a": 1 , "model":"x","b" :2  }
 *     ^^^                                 head: up to the first member
 *        ^^^^^^                           a member: name, colon, value
 *              ^^^                        the gap before the next member
 *                                   ^^^   tail: from behind the last member
 *
 * body_write copies head and tail always, each member that stays, and the gap
 * before it unless it is the first that stays: so a drop takes one comma. */
/* SPDX-License-Identifier: MIT */
#include "body.h"
#include "leaves/mem.h"
#include <stdio.h>

/* What Weir reads: two of one name, and gateway and provider may not mean the same. */
static const char *const READ[] = {
    "model",      "stream", "stream_options",        "messages", "prompt", "input",
    "max_tokens", "n",      "max_completion_tokens", "tools",
};
enum { READ_COUNT = sizeof(READ) / sizeof(READ[0]) };

enum { MEMBERS_FIRST = 16 }; /* a power of two, as all later sizes */

struct plan {                      /* what a list of edits means for one name */
    const char *name;              /* NULL: no edit names it */
    const struct body_edit *whole; /* the set or drop of the member, or NULL */
    bool inner;                    /* something is set within it */
};

static bool read_member(struct json *json, struct body_member *member);
static void add_member(struct body *body, const struct body_member *member);
static enum err check_member(const struct body *body, const struct body_member *member,
                             unsigned *seen, struct body_fault *fault);
static enum err check_read_name(struct slice name, unsigned *seen, struct body_fault *fault);
static bool has_nul(struct slice inside);
static enum err refuse(struct body_fault *fault, enum err err, const char *message);
static enum err refuse_json(struct body_fault *fault, const struct json *json);
static void tell_member(struct body_fault *fault, struct slice name);
static struct slice inside_of(struct slice string);
static void set_edit(struct body_edits *edits, const char *name, const char *inner,
                     struct slice value);
static struct body_edit *find_edit(const struct body_edits *edits, const char *name,
                                   const char *inner);
static struct plan plan_of_member(const struct body_edits *edits, struct slice name);
static struct plan plan_of_name(const struct body_edits *edits, const char *name);
static bool plan_drops(const struct plan *plan);
static bool is_first_of_name(const struct body_edits *edits, size_t at);
static size_t edits_len(const struct body_edits *edits);
static void write_value(const struct body_edits *edits, const struct plan *plan, struct slice old,
                        struct buf *out);
static void write_within(const struct body_edits *edits, const char *name, struct slice object,
                         struct buf *out);

static inline const char *slice_end(struct slice slice)
{
    return slice.ptr + slice.len;
}

static inline struct slice between(const char *from, const char *to)
{
    return (struct slice){from, (size_t)(to - from)};
}

enum err body_init(struct body *body, struct slice text, struct body_fault *fault)
{
    struct json json = json_init(text);
    struct body_member member = {0};
    unsigned seen = 0;
    enum err err = ERR_OK;

    *body = (struct body){.text = text};
    *fault = (struct body_fault){0};
    json_enter_object(&json);
    while (!err && read_member(&json, &member)) {
        err = check_member(body, &member, &seen, fault);
        add_member(body, &member);
    }
    if (!err && json_finish(&json))
        err = refuse_json(fault, &json);
    if (err) {
        tell_member(fault, member.name);
        body_fini(body);
    }
    return err;
}

void body_fini(struct body *body)
{
    mem_free(body->members);
    *body = (struct body){0};
}

const struct body_member *body_get(const struct body *body, const char *name)
{
    for (size_t i = body->count; i > 0; i--)
        if (json_string_is(body->members[i - 1].name, name))
            return &body->members[i - 1];
    return NULL;
}

enum err body_get_string(const struct body *body, const char *name, struct buf *out)
{
    const struct body_member *member = body_get(body, name);

    if (!member || member->kind != JSON_STRING)
        return ERR_TYPE;
    return json_unescape(inside_of(member->value), out);
}

bool body_is_true(const struct body *body, const char *name)
{
    const struct body_member *member = body_get(body, name);
    return member && member->kind == JSON_TRUE;
}

void body_edits_set(struct body_edits *edits, const char *name, struct slice value)
{
    set_edit(edits, name, NULL, value);
}

void body_edits_drop(struct body_edits *edits, const char *name)
{
    set_edit(edits, name, NULL, (struct slice){0});
}

void body_edits_set_inner(struct body_edits *edits, const char *name, const char *inner,
                          struct slice value)
{
    set_edit(edits, name, inner, value);
}

void body_edits_add(struct body_edits *edits, const struct body_edits *from)
{
    for (size_t i = 0; i < from->count; i++) {
        const struct body_edit *edit = &from->items[i];
        set_edit(edits, edit->name, edit->inner, (struct slice){edit->value, edit->value_len});
    }
}

void body_edits_free(struct body_edits *edits)
{
    for (size_t i = 0; i < edits->count; i++) {
        mem_free(edits->items[i].name);
        mem_free(edits->items[i].inner);
        mem_free(edits->items[i].value);
    }
    mem_free(edits->items);
    *edits = (struct body_edits){0};
}

void body_write(const struct body *body, const struct body_edits *edits, struct buf *out)
{
    const char *brace = memchr(body->text.ptr, '{', body->text.len);
    const char *at = brace + 1; /* where the gap begins */
    bool empty = true;          /* no member stays so far */

    buf_reserve(out, body->text.len + edits_len(edits));
    buf_add(out, between(body->text.ptr, at));
    for (size_t i = 0; i < body->count; i++) {
        const struct body_member *member = &body->members[i];
        const char *begin = member->name.ptr - 1;
        struct plan plan = plan_of_member(edits, member->name);

        if (i == 0 || (!empty && !plan_drops(&plan)))
            buf_add(out, between(at, begin));
        at = slice_end(member->value);
        if (plan_drops(&plan))
            continue;
        buf_add(out, between(begin, member->value.ptr));
        write_value(edits, &plan, member->value, out);
        empty = false;
    }
    for (size_t i = 0; i < edits->count; i++) {
        struct plan plan = plan_of_name(edits, edits->items[i].name);
        if (!is_first_of_name(edits, i) || plan_drops(&plan) || body_get(body, plan.name))
            continue;
        if (!empty)
            buf_add_char(out, ',');
        json_quote(out, slice_of(plan.name));
        buf_add_char(out, ':');
        write_value(edits, &plan, SLICE("null"), out);
        empty = false;
    }
    buf_add(out, between(at, slice_end(body->text)));
}

/* False at the end of the object and on error; a name is set if it got so far. */
static bool read_member(struct json *json, struct body_member *member)
{
    *member = (struct body_member){0};
    if (!json_next_member(json, &member->name))
        return false;
    member->kind = json_peek(json);
    member->value = json_skip(json);
    return !json->err;
}

static void add_member(struct body *body, const struct body_member *member)
{
    size_t count = body->count;

    if (count == 0 || (count >= MEMBERS_FIRST && (count & (count - 1)) == 0)) /* full */
        body->members =
            mem_resize(body->members, (count ? 2 * count : MEMBERS_FIRST) * sizeof(*body->members));
    body->members[body->count++] = *member;
}

static enum err check_member(const struct body *body, const struct body_member *member,
                             unsigned *seen, struct body_fault *fault)
{
    enum err err = ERR_OK;

    fault->offset = (size_t)(member->name.ptr - 1 - body->text.ptr);
    if (body->count == BODY_MAX_MEMBERS)
        err = refuse(fault, ERR_TOO_LARGE, "the body has too many members");
    else if (has_nul(member->name))
        err = refuse(fault, ERR_NUL, "a member's name must not contain \\u0000");
    else
        err = check_read_name(member->name, seen, fault);
    if (err || member->kind != JSON_STRING || !slice_is(member->name, "model"))
        return err;

    fault->offset = (size_t)(member->value.ptr - body->text.ptr);
    return has_nul(inside_of(member->value))
               ? refuse(fault, ERR_NUL, "the model's name must not contain \\u0000")
               : ERR_OK;
}

/* *seen has a bit for each of READ that came already. */
static enum err check_read_name(struct slice name, unsigned *seen, struct body_fault *fault)
{
    bool escaped = name.len && memchr(name.ptr, '\\', name.len);

    for (unsigned i = 0; i < READ_COUNT; i++) {
        if (!json_string_is(name, READ[i]))
            continue;
        if (escaped)
            return refuse(fault, ERR_TYPE, "this member's name must be written without escapes");
        if (*seen & 1U << i)
            return refuse(fault, ERR_DUPLICATE, "this member must not occur twice");
        *seen |= 1U << i;
    }
    return ERR_OK;
}

static bool has_nul(struct slice inside)
{
    const char *ptr = inside.ptr;
    const char *end = slice_end(inside);

    while (ptr < end && (ptr = memchr(ptr, '\\', (size_t)(end - ptr)))) {
        if (end - ptr >= 6 && memcmp(ptr, "\\u0000", 6) == 0)
            return true;
        ptr += 2; /* an escaped backslash begins nothing */
    }
    return false;
}

static enum err refuse(struct body_fault *fault, enum err err, const char *message)
{
    snprintf(fault->message, sizeof(fault->message), "%s", message);
    return err;
}

static enum err refuse_json(struct body_fault *fault, const struct json *json)
{
    size_t offset = (size_t)(json->ptr - json->begin);
    enum err err = json->err;

    if (err == ERR_TYPE) /* no object: but is it JSON at all? */
        err = json_check(between(json->begin, json->end), &offset);
    fault->offset = offset;
    if (json->depth == 0 && json->ptr == json->end)
        return refuse(fault, err, "the body is empty");
    if (err == ERR_OK)
        return refuse(fault, ERR_TYPE, "the body must be a JSON object");
    if (err == ERR_TOO_DEEP)
        return refuse(fault, err, "the body's JSON is nested too deeply");
    if (err == ERR_UTF8)
        return refuse(fault, err, "the body is not valid UTF-8");
    if (err == ERR_TRAILING)
        return refuse(fault, err, "something follows the end of the body's JSON");
    if (json->begin + offset == json->end)
        return refuse(fault, err, "the body's JSON ends too early");
    return refuse(fault, err, "the body is not valid JSON");
}

/* As much of the name as fits, cut between characters. */
static void tell_member(struct body_fault *fault, struct slice name)
{
    struct slice part = slice_cut(name, sizeof(fault->member) - 1);

    if (part.len)
        memcpy(fault->member, part.ptr, part.len);
    fault->member[part.len] = '\0';
}

static struct slice inside_of(struct slice string)
{
    return (struct slice){string.ptr + 1, string.len - 2};
}

/* One item for each name, and one for each pair of name and inner. */
static void set_edit(struct body_edits *edits, const char *name, const char *inner,
                     struct slice value)
{
    struct body_edit *edit = find_edit(edits, name, inner);

    if (!edit) {
        if (edits->count == edits->capacity) {
            edits->capacity = edits->capacity ? 2 * edits->capacity : 8;
            edits->items = mem_resize(edits->items, edits->capacity * sizeof(*edits->items));
        }
        edit = &edits->items[edits->count++];
        *edit = (struct body_edit){.name = mem_dup(slice_of(name)),
                                   .inner = inner ? mem_dup(slice_of(inner)) : NULL};
    }
    char *old = edit->value;
    edit->value = value.ptr ? mem_dup(value) : NULL;
    edit->value_len = value.len;
    mem_free(old);
}

static struct body_edit *find_edit(const struct body_edits *edits, const char *name,
                                   const char *inner)
{
    for (size_t i = 0; i < edits->count; i++) {
        struct body_edit *edit = &edits->items[i];
        if (strcmp(edit->name, name) != 0 || !edit->inner != !inner)
            continue;
        if (!inner || strcmp(edit->inner, inner) == 0)
            return edit;
    }
    return NULL;
}

/* name is as the body writes it. */
static struct plan plan_of_member(const struct body_edits *edits, struct slice name)
{
    for (size_t i = 0; i < edits->count; i++)
        if (json_string_is(name, edits->items[i].name))
            return plan_of_name(edits, edits->items[i].name);
    return (struct plan){0};
}

static struct plan plan_of_name(const struct body_edits *edits, const char *name)
{
    struct plan plan = {.name = name};

    for (size_t i = 0; i < edits->count; i++) {
        const struct body_edit *edit = &edits->items[i];
        if (strcmp(edit->name, name) != 0)
            continue;
        if (edit->inner)
            plan.inner = true;
        else
            plan.whole = edit;
    }
    return plan;
}

static bool plan_drops(const struct plan *plan)
{
    return plan->whole && !plan->whole->value && !plan->inner;
}

static bool is_first_of_name(const struct body_edits *edits, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (strcmp(edits->items[i].name, edits->items[at].name) == 0)
            return false;
    return true;
}

/* Room for all of them, near enough. */
static size_t edits_len(const struct body_edits *edits)
{
    size_t len = 0;

    for (size_t i = 0; i < edits->count; i++)
        len += strlen(edits->items[i].name) + edits->items[i].value_len + sizeof("\"\":,");
    return len;
}

static void write_value(const struct body_edits *edits, const struct plan *plan, struct slice old,
                        struct buf *out)
{
    struct slice value = old;

    if (plan->whole && plan->whole->value)
        value = (struct slice){plan->whole->value, plan->whole->value_len};
    else if (plan->whole)
        value = SLICE("null");
    if (plan->inner)
        write_within(edits, plan->name, value, out);
    else
        buf_add(out, value);
}

/* The object with what is set within it: a body of its own, with edits of its own. */
static void write_within(const struct body_edits *edits, const char *name, struct slice object,
                         struct buf *out)
{
    struct body inner = {.text = slice_is(object, "null") ? SLICE("{}") : object};
    struct json json = json_init(inner.text);
    struct body_member member;
    struct body_edits own = {0};

    if (json_enter_object(&json))
        while (read_member(&json, &member))
            add_member(&inner, &member);
    for (size_t i = 0; i < edits->count; i++) {
        const struct body_edit *edit = &edits->items[i];
        if (edit->inner && strcmp(edit->name, name) == 0)
            set_edit(&own, edit->inner, NULL, (struct slice){edit->value, edit->value_len});
    }
    if (json.err)
        buf_add(out, object);
    else
        body_write(&inner, &own, out);
    body_edits_free(&own);
    body_fini(&inner);
}
