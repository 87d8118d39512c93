/* sse.c -- fuzzes the event-stream parser: however a stream is cut, the same
 * events come out, and their raw bytes are the stream.
 *
 * The first byte of the input seeds the cuts, the second sets the limit. */
/* SPDX-License-Identifier: MIT */
#include "parsers/sse.h"
#include "leaves/buf.h"
#include "leaves/mem.h"
#include <stdint.h>
#include <stdlib.h>

struct heard {
    struct buf said; /* what the events say, in a form that can be compared */
    struct buf raw;
    size_t ends;
};

static void check(bool is_true)
{
    if (!is_true)
        abort();
}

static void say(struct heard *heard, struct slice slice)
{
    buf_add_format(&heard->said, "%zu:", slice.len);
    buf_add(&heard->said, slice);
}

static void on_event(void *arg, const struct sse_event *event)
{
    struct heard *heard = arg;
    bool says = event->has_data || event->has_ignored || event->name.len || event->id.len ||
                event->retry_ms >= 0;

    check(event->raw.len > 0 && heard->ends == 0);
    check(event->has_data || event->data.len == 0);
    check(event->is_done == (event->has_data && slice_is(event->data, "[DONE]")));
    buf_add(&heard->raw, event->raw);
    heard->ends += event->is_unended;
    if (!says) /* an LF cut from its CR is a block of its own: it says nothing */
        return;
    say(heard, event->name);
    say(heard, event->data);
    say(heard, event->id);
    buf_add_format(&heard->said, "%ld %d %d\n", event->retry_ms, event->has_ignored,
                   event->is_unended);
}

/* Pieces of up to 16 bytes when seed is set, else all at once.  Each is a block
 * of its own, so that a read beside it is seen. */
static enum err parse(struct slice stream, size_t limit, unsigned seed, struct heard *heard)
{
    struct sse *sse = sse_new(limit, on_event, heard);
    enum err err = ERR_OK;
    size_t at = 0;

    while (at < stream.len && !err) {
        size_t len = seed ? 1 + (seed >> 16) % 16 : stream.len;
        if (len > stream.len - at)
            len = stream.len - at;
        char *piece = mem_resize(NULL, len);
        memcpy(piece, stream.ptr + at, len);
        err = sse_feed(sse, piece, len);
        mem_free(piece);
        at += len;
        seed = seed ? (seed * 1103515245 + 12345) | 1 : 0;
        check(sse_pending(sse) <= limit + 1);
    }
    if (!err)
        err = sse_finish(sse);
    check(sse_pending(sse) == 0);
    sse_free(sse);
    return err;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len)
{
    if (len < 2)
        return 0;
    struct slice stream = {(const char *)bytes + 2, len - 2};
    size_t limit = bytes[1] ? bytes[1] : SSE_MAX_EVENT;
    struct heard whole = {0}, cut = {0};
    enum err err = parse(stream, limit, 0, &whole);

    check(err == parse(stream, limit, bytes[0] * 2654435761u | 1, &cut));
    check(slice_equal(buf_slice(&whole.said), buf_slice(&cut.said)));
    check(err || slice_equal(buf_slice(&whole.raw), stream));
    check(err || slice_equal(buf_slice(&cut.raw), stream));
    buf_free(&whole.said);
    buf_free(&whole.raw);
    buf_free(&cut.said);
    buf_free(&cut.raw);
    return 0;
}
