/* sse.c -- blocks read in place; only an unfinished tail is kept.
 *
 *    piece      data: a\n\n data: b\n\n data: c...
 *               '--- in place, no copy ---' '-- tail: copied, completed by later pieces
 *
 * Of a tail only its last byte matters to find its end, so later pieces are
 * searched alone and a large event costs no more for coming in small pieces.
 *
 * Where OpenAI's streams differ from WHATWG HTML 9.2.6, or we do:
 * - "[DONE]" as data is OpenAI's end of the stream; the standard has no such thing.
 * - A last block without its blank line is handed out, where the standard drops it.
 * - Bytes stay as they came: bad UTF-8 is not replaced, that is the reader's affair.
 * - The name is empty where the standard says "message", and an id is its block's
 *   only: nobody reconnects a completion, so there is no last event ID.
 * - A BOM and each stray blank line are blocks of their own, without data.  So is
 *   an LF whose CR ended a block in the piece before: the event was not held back
 *   for it, and it is not held back for the next event. */
/* SPDX-License-Identifier: MIT */
#include "sse.h"
#include "leaves/buf.h"
#include "leaves/mem.h"

enum {
    BOM_LEN = 3,
    CR_AHEAD = 1024,  /* bytes after a line searched for CR with it, for the next ones */
    RETRY_DIGITS = 9, /* more is no time to wait: 11 days in milliseconds */
};

static const char bom[BOM_LEN] = "\xef\xbb\xbf";

struct sse {
    sse_on_event *on_event;
    void *arg;
    size_t max_event;
    struct buf tail;   /* of a block that is not whole; no memory when there is none */
    enum err err;      /* once it failed */
    unsigned bom_seen; /* bytes of a BOM at the very start; BOM_LEN: past it */
    bool is_after_cr;  /* the last block ended with CR: an LF that comes next belongs to it */
};

struct block {
    struct sse_event event;
    struct buf joined; /* data of several lines */
};

/* Where lines end.  The next LF and the next CR are remembered until they are
 * passed: no byte is searched twice for the same one, also in a stream that has
 * only one of them, and memchr does it at its full speed. */
struct lines {
    struct slice bytes;
    size_t lf;   /* offset of the next LF, or the end */
    size_t cr;   /* offset of the next CR, or up to where there is none */
    bool has_cr; /* cr is one */
};

static struct slice read_bom(struct sse *sse, struct slice bytes);
static struct slice read_lf(struct sse *sse, struct slice bytes);
static struct slice complete_tail(struct sse *sse, struct slice bytes);
static void read_tail(struct sse *sse, bool is_end);
static void read_blocks(struct sse *sse, struct slice bytes);
static size_t find_end(struct slice bytes, char before);
static size_t read_block(struct sse *sse, struct lines *lines, size_t start, bool is_end);
static void hand_out(struct sse *sse, struct block *block, struct slice raw);
static void hand_out_bare(struct sse *sse, struct slice raw);
static void keep_tail(struct sse *sse, struct slice bytes);
static void fail(struct sse *sse);
static void add_line(struct block *block, struct slice line);
static void add_field(struct block *block, struct slice name, struct slice value);
static void add_data(struct block *block, struct slice value);
static bool set_retry(struct sse_event *event, struct slice value);
static struct lines lines_of(struct slice bytes);
static inline size_t find_line_end(struct lines *lines, size_t at);
static size_t search_line_end(struct lines *lines, size_t at);
static size_t find_cr(struct lines *lines, size_t at);
static size_t find_byte(struct slice bytes, size_t at, char c);
static size_t skip_ending(struct slice bytes, size_t at);

/* ---- the parser's life ---- */

struct sse *sse_new(size_t max_event, sse_on_event *on_event, void *arg)
{
    struct sse *sse = mem_new(sizeof *sse);

    sse->on_event = on_event;
    sse->arg = arg;
    sse->max_event = max_event ? max_event : SSE_MAX_EVENT;
    return sse;
}

enum err sse_feed(struct sse *sse, const char *ptr, size_t len)
{
    struct slice bytes = {ptr, len};

    if (sse->err || len == 0)
        return sse->err;
    if (sse->bom_seen < BOM_LEN)
        bytes = read_bom(sse, bytes);
    if (sse->is_after_cr && bytes.len)
        bytes = read_lf(sse, bytes);
    if (sse->tail.len && bytes.len)
        bytes = complete_tail(sse, bytes);
    if (bytes.len && !sse->err)
        read_blocks(sse, bytes);
    return sse->err;
}

enum err sse_finish(struct sse *sse)
{
    if (sse->err)
        return sse->err;
    if (sse->bom_seen < BOM_LEN)
        buf_add(&sse->tail, (struct slice){bom, sse->bom_seen});
    sse->bom_seen = BOM_LEN;
    if (sse->tail.len)
        read_tail(sse, true);
    return sse->err;
}

size_t sse_pending(const struct sse *sse)
{
    return sse->tail.len + (sse->bom_seen < BOM_LEN ? sse->bom_seen : 0);
}

void sse_free(struct sse *sse)
{
    if (!sse)
        return;
    buf_free(&sse->tail);
    mem_free(sse);
}

/* ---- blocks ---- */

/* Takes a BOM from the start of the stream, in however many pieces it comes;
 * gives what follows it. */
static struct slice read_bom(struct sse *sse, struct slice bytes)
{
    while (bytes.len && sse->bom_seen < BOM_LEN && *bytes.ptr == bom[sse->bom_seen]) {
        sse->bom_seen++;
        bytes = (struct slice){bytes.ptr + 1, bytes.len - 1};
        if (sse->bom_seen == BOM_LEN)
            hand_out_bare(sse, (struct slice){bom, BOM_LEN});
    }
    if (bytes.len && sse->bom_seen < BOM_LEN) {
        buf_add(&sse->tail, (struct slice){bom, sse->bom_seen}); /* it was none */
        sse->bom_seen = BOM_LEN;
    }
    return bytes;
}

/* Hands out the LF of a CRLF that was cut where its block ended. */
static struct slice read_lf(struct sse *sse, struct slice bytes)
{
    sse->is_after_cr = false;
    if (*bytes.ptr != '\n')
        return bytes;
    hand_out_bare(sse, (struct slice){bytes.ptr, 1});
    return (struct slice){bytes.ptr + 1, bytes.len - 1};
}

/* Adds to the tail up to its block's end and, if that is there, hands the block
 * out; gives what follows it. */
static struct slice complete_tail(struct sse *sse, struct slice bytes)
{
    size_t end = find_end(bytes, sse->tail.ptr[sse->tail.len - 1]);
    size_t len = end ? end : bytes.len;

    keep_tail(sse, (struct slice){bytes.ptr, len});
    if (end && !sse->err)
        read_tail(sse, false);
    return (struct slice){bytes.ptr + len, bytes.len - len};
}

/* The tail is out of the parser before the callback runs, and freed after it. */
static void read_tail(struct sse *sse, bool is_end)
{
    struct buf tail = sse->tail;
    struct lines lines = lines_of(buf_slice(&tail));

    sse->tail = (struct buf){0};
    read_block(sse, &lines, 0, is_end);
    buf_free(&tail);
}

static void read_blocks(struct sse *sse, struct slice bytes)
{
    struct lines lines = lines_of(bytes);
    size_t at = 0, end;

    while (at < bytes.len && !sse->err && (end = read_block(sse, &lines, at, false)) > at)
        at = end;
    if (at < bytes.len && !sse->err) {
        sse->is_after_cr = false;
        keep_tail(sse, (struct slice){bytes.ptr + at, bytes.len - at});
    }
}

/* Offset after the first blank line, or 0.  before: the byte that bytes follow. */
static size_t find_end(struct slice bytes, char before)
{
    struct lines lines = lines_of(bytes);
    bool is_line_start = before == '\n' || before == '\r';
    size_t at = before == '\r' && *bytes.ptr == '\n';

    while (at < bytes.len) {
        size_t end = find_line_end(&lines, at);
        if (end == bytes.len)
            return 0;
        bool is_blank = is_line_start && end == at;
        at = skip_ending(bytes, end);
        if (is_blank)
            return at;
        is_line_start = true;
    }
    return 0;
}

/* Hands out the block that begins at start and gives the offset after it, or
 * start when it is not whole.  is_end: no more bytes will come, so what there is
 * of it is handed out. */
static size_t read_block(struct sse *sse, struct lines *lines, size_t start, bool is_end)
{
    struct block block; /* set in two parts: gcc clears all of it with a slow rep stos */
    struct slice bytes = lines->bytes;
    size_t at = start, after = start;

    block.event = (struct sse_event){.retry_ms = -1, .is_unended = is_end};
    block.joined = (struct buf){0};
    while (at < bytes.len && after == start) {
        size_t end = find_line_end(lines, at);
        if (end == bytes.len && !is_end)
            break;
        struct slice line = {bytes.ptr + at, end - at};
        at = end < bytes.len ? skip_ending(bytes, end) : end;
        if (line.len)
            add_line(&block, line);
        if (line.len == 0 || (is_end && at == bytes.len))
            after = at;
    }
    if (after > start)
        hand_out(sse, &block, (struct slice){bytes.ptr + start, after - start});
    if (block.joined.base)
        buf_free(&block.joined);
    return after;
}

static void hand_out(struct sse *sse, struct block *block, struct slice raw)
{
    struct sse_event *event = &block->event;
    size_t len = raw.len;

    event->raw = raw;
    if (len > 1 && raw.ptr[len - 1] == '\n' && raw.ptr[len - 2] == '\r')
        len--; /* the same block is not larger for coming in one piece */
    if (len > sse->max_event) {
        fail(sse);
        return;
    }
    if (block->joined.len)
        event->data = buf_slice(&block->joined);
    event->is_done = slice_is(event->data, "[DONE]");
    sse->is_after_cr = raw.ptr[raw.len - 1] == '\r';
    sse->on_event(sse->arg, event);
}

/* Bytes that are no part of any event. */
static void hand_out_bare(struct sse *sse, struct slice raw)
{
    struct sse_event event = {.raw = raw, .retry_ms = -1};

    sse->on_event(sse->arg, &event);
}

static void keep_tail(struct sse *sse, struct slice bytes)
{
    /* One more: a last LF after CR, which hand_out does not count. */
    if (sse->tail.len + bytes.len > sse->max_event + 1)
        fail(sse);
    else
        buf_add(&sse->tail, bytes);
}

static void fail(struct sse *sse)
{
    sse->err = ERR_TOO_LARGE;
    buf_free(&sse->tail);
}

/* ---- lines ---- */

static void add_line(struct block *block, struct slice line)
{
    if (line.len >= 5 && memcmp(line.ptr, "data:", 5) == 0) { /* nearly every line */
        size_t skip = line.len > 5 && line.ptr[5] == ' ' ? 6 : 5;
        add_data(block, (struct slice){line.ptr + skip, line.len - skip});
        return;
    }
    if (*line.ptr == ':')
        return;
    const char *colon = memchr(line.ptr, ':', line.len);
    struct slice name = {line.ptr, colon ? (size_t)(colon - line.ptr) : line.len};
    struct slice value = {line.ptr + name.len, line.len - name.len};
    for (const char *skip = ": "; *skip; skip++)
        if (value.len && *value.ptr == *skip)
            value = (struct slice){value.ptr + 1, value.len - 1};
    add_field(block, name, value);
}

static void add_field(struct block *block, struct slice name, struct slice value)
{
    struct sse_event *event = &block->event;
    bool is_known = true;

    if (slice_is(name, "data"))
        add_data(block, value);
    else if (slice_is(name, "event"))
        event->name = value;
    else if (slice_is(name, "id") && !(value.len && memchr(value.ptr, '\0', value.len)))
        event->id = value;
    else
        is_known = slice_is(name, "retry") && set_retry(event, value);
    if (!is_known)
        event->has_ignored = true;
}

static void add_data(struct block *block, struct slice value)
{
    if (!block->event.has_data) {
        block->event.has_data = true;
        block->event.data = value;
        return;
    }
    if (block->joined.len == 0)
        buf_add(&block->joined, block->event.data);
    buf_add_char(&block->joined, '\n');
    buf_add(&block->joined, value);
}

static bool set_retry(struct sse_event *event, struct slice value)
{
    long retry_ms = 0;

    if (value.len == 0 || value.len > RETRY_DIGITS)
        return false;
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9')
            return false;
        retry_ms = retry_ms * 10 + (value.ptr[i] - '0');
    }
    event->retry_ms = retry_ms;
    return true;
}

/* ---- line ends ---- */

static struct lines lines_of(struct slice bytes)
{
    return (struct lines){.bytes = bytes, .lf = find_byte(bytes, 0, '\n')};
}

/* Offset of the first CR or LF from at on, or the end.  at only ever grows. */
static inline size_t find_line_end(struct lines *lines, size_t at)
{
    return lines->bytes.ptr[at] == '\n' ? at : search_line_end(lines, at);
}

static size_t search_line_end(struct lines *lines, size_t at)
{
    if (lines->lf < at)
        lines->lf = find_byte(lines->bytes, at, '\n');
    return lines->lf <= lines->cr ? lines->lf : find_cr(lines, at);
}

/* The same when there may be a CR before the LF. */
static size_t find_cr(struct lines *lines, size_t at)
{
    if (lines->cr < at || !lines->has_cr) {
        struct slice near = {lines->bytes.ptr, lines->bytes.len};
        if (near.len - lines->lf > CR_AHEAD)
            near.len = lines->lf + CR_AHEAD;
        lines->cr = find_byte(near, lines->cr < at ? at : lines->cr, '\r');
        lines->has_cr = lines->cr < near.len;
    }
    return lines->cr < lines->lf ? lines->cr : lines->lf;
}

/* Offset of c from at on, or the end. */
static size_t find_byte(struct slice bytes, size_t at, char c)
{
    const char *found = memchr(bytes.ptr + at, c, bytes.len - at);
    return found ? (size_t)(found - bytes.ptr) : bytes.len;
}

/* Offset after the line ending at at: CR, LF, or CRLF if both are there. */
static size_t skip_ending(struct slice bytes, size_t at)
{
    bool is_crlf = bytes.ptr[at] == '\r' && at + 1 < bytes.len && bytes.ptr[at + 1] == '\n';

    return at + 1 + is_crlf;
}
