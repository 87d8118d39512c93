/* said.c -- collects as it is written, and reads at the end: half a surrogate pair in one message
 * may have its other half in the next. */
/* SPDX-License-Identifier: MIT */
#include "said.h"
#include "body.h"
#include "json.h"

void said_fini(struct said *said)
{
    buf_free(&said->text);
    buf_free(&said->id);
    buf_free(&said->created);
}

/* ---- collecting ---- */

static void keep_names(struct said *said, struct slice data)
{
    struct json json = json_init(data);
    struct slice name;

    said->has_message = true;
    json_enter_object(&json);
    while (json_next_member(&json, &name)) {
        struct slice value = json_skip(&json);
        if (json_string_is(name, "id") && !said->id.len)
            buf_add(&said->id, value);
        else if (json_string_is(name, "created") && !said->created.len)
            buf_add(&said->created, value);
    }
}

void said_add(struct said *said, struct slice data, const struct chunk *chunk)
{
    bool is_unreadable = chunk->kind == CHUNK_CONTENT && !chunk->text.ptr;

    if (!said->has_message)
        keep_names(said, data);
    if (chunk->calls_tool || chunk->finish.ptr || chunk->index || chunk->choices > 1 ||
        is_unreadable)
        said->is_settled = true;
    if (chunk->kind != CHUNK_CONTENT || said->is_settled)
        return;
    if (said->text.len + chunk->text.len > SAID_MAX)
        said->is_settled = true;
    else
        buf_add(&said->text, chunk->text);
}

bool said_may_go_on(const struct said *said, struct buf *text)
{
    return !said->is_settled && json_unescape(buf_slice(&said->text), text) == ERR_OK;
}

/* ---- joining ---- */

/* The span of choices[0].delta; empty: there is none. */
static struct slice find_delta(struct slice data)
{
    struct json json = json_init(data);
    struct slice name;

    json_enter_object(&json);
    while (json_next_member(&json, &name)) {
        if (!json_string_is(name, "choices"))
            continue;
        if (!json_open_array(&json) || !json_next_element(&json) || !json_open_object(&json))
            break;
        while (json_next_member(&json, &name))
            if (json_string_is(name, "delta"))
                return json_skip(&json);
        break;
    }
    return (struct slice){0};
}

/* Applies the edits to an object; as it is where it is none that can be edited. */
static void edit(struct slice object, const struct body_edits *edits, struct buf *out)
{
    struct body body;
    struct body_fault fault;

    if (body_init(&body, object, &fault)) {
        buf_add(out, object);
        return;
    }
    body_write(&body, edits, out);
    body_fini(&body);
}

static void add_without_role(struct slice data, struct buf *out)
{
    struct slice delta = find_delta(data);
    struct body_edits edits = {0};

    if (!delta.len || *delta.ptr != '{') {
        buf_add(out, data);
        return;
    }
    const char *end = data.ptr + data.len, *after = delta.ptr + delta.len;
    body_edits_drop(&edits, "role");
    buf_add(out, (struct slice){data.ptr, (size_t)(delta.ptr - data.ptr)});
    edit(delta, &edits, out);
    buf_add(out, (struct slice){after, (size_t)(end - after)});
    body_edits_free(&edits);
}

/* White space between tokens is all that a line break in JSON can be. */
static void join_lines(struct buf *out, size_t from)
{
    for (size_t i = from; i < out->len; i++)
        if (out->ptr[i] == '\n' || out->ptr[i] == '\r')
            out->ptr[i] = ' ';
}

void said_join(const struct said *said, struct slice data, const struct chunk *chunk,
               struct buf *out)
{
    struct body_edits edits = {0};
    struct buf text = {0};
    size_t from = out->len;

    if (chunk->kind == CHUNK_ROLE && !chunk->usage.ptr)
        return;
    add_without_role(data, &text);
    if (said->id.len)
        body_edits_set(&edits, "id", buf_slice(&said->id));
    if (said->created.len)
        body_edits_set(&edits, "created", buf_slice(&said->created));
    edit(buf_slice(&text), &edits, out);
    join_lines(out, from);
    body_edits_free(&edits);
    buf_free(&text);
}
