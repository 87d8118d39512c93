/* body.c -- libFuzzer target: any bytes as a request body and as a chunk.
 *
 * Beyond memory safety it holds the promises of the headers: what body_init
 * takes is strict JSON, no edit changes nothing, every edit leaves strict JSON
 * that says what was set, and chunk_read is as strict as json_check. */
/* SPDX-License-Identifier: MIT */
#include "parsers/body.h"
#include "parsers/chunk.h"
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool promise)
{
    if (!promise)
        abort();
}

static bool is_json(struct slice text)
{
    size_t offset;
    enum err err = json_check(text, &offset);

    check(offset <= text.len && (err || offset == text.len));
    return err == ERR_OK;
}

static void try_chunk(struct slice text)
{
    struct chunk chunk;
    enum err err = chunk_read(text, &chunk);

    check((err == ERR_OK || err == ERR_TYPE) == is_json(text));
    check(!err || (chunk.kind == CHUNK_OTHER && !chunk.text.ptr && !chunk.usage.ptr));
    check(!chunk.usage.ptr || is_json(chunk.usage));
    check(!chunk.error.ptr || is_json(chunk.error));
}

/* Any bytes can be quoted, and what is quoted reads as it was, if it was UTF-8. */
static void try_quote(struct slice text)
{
    struct buf quoted = {0};
    struct buf again = {0};

    json_quote(&quoted, text);
    check(is_json(buf_slice(&quoted)));
    struct slice inside = {quoted.ptr + 1, quoted.len - 2};
    if (json_unescape(inside, &again) == ERR_OK && again.len == text.len)
        check(slice_equal(buf_slice(&again), text));
    buf_free(&quoted);
    buf_free(&again);
}

static void try_write(const struct body *body, const struct body_edits *edits, struct buf *out)
{
    buf_clear(out);
    body_write(body, edits, out);
    check(is_json(buf_slice(out)));
}

/* Drops the first member, whatever it is, by its decoded name. */
static void try_drop(const struct body *body, struct buf *out)
{
    struct body_edits edits = {0};
    struct body_fault fault;
    struct buf name = {0};
    struct body after;

    if (body->count > 0 && json_unescape(body->members[0].name, &name) == ERR_OK) {
        buf_add_char(&name, '\0');
        body_edits_drop(&edits, name.ptr);
        try_write(body, &edits, out);
        check(body_init(&after, buf_slice(out), &fault) == ERR_OK);
        check(after.count < body->count && !body_get(&after, name.ptr));
        body_fini(&after);
    }
    buf_free(&name);
    body_edits_free(&edits);
}

static void try_edits(const struct body *body, struct buf *out)
{
    struct body_edits edits = {0};
    struct body_fault fault;
    struct body after;

    try_write(body, &edits, out);
    check(slice_equal(buf_slice(out), body->text));

    body_edits_set(&edits, "model", SLICE("\"other\""));
    body_edits_drop(&edits, "a");
    body_edits_set_inner(&edits, "stream_options", "include_usage", SLICE("true"));
    body_edits_set_inner(&edits, "b", "i", SLICE("[0]"));
    body_edits_set(&edits, "b", SLICE("{\"i\":1,\"j\":2}"));
    try_write(body, &edits, out);
    if (body->count + 3 <= BODY_MAX_MEMBERS) {
        check(body_init(&after, buf_slice(out), &fault) == ERR_OK);
        check(slice_is(body_get(&after, "model")->value, "\"other\""));
        check(slice_is(body_get(&after, "b")->value, "{\"i\":[0],\"j\":2}"));
        check(!body_get(&after, "a") && body_get(&after, "stream_options"));
        body_fini(&after);
    }
    body_edits_free(&edits);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = {(const char *)data, size};
    struct body_fault fault;
    struct body body;
    struct buf out = {0};

    try_chunk(text);
    try_quote(text);
    if (body_init(&body, text, &fault)) {
        check(fault.message[0] && fault.offset <= size);
        return 0;
    }
    check(is_json(text));
    (void)!body_get_string(&body, "model", &out);
    try_drop(&body, &out);
    try_edits(&body, &out);
    body_fini(&body);
    buf_free(&out);
    return 0;
}
