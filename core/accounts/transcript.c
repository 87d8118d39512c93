/* transcript.c -- texts gathered by kind and choice, and written one behind another.
 *
 *   record: head, count, {part, its text} ...
 *
 * Strings of a stream stay as they are written, escapes and all: reading them is the clerk's, who
 * has the time. */
/* SPDX-License-Identifier: MIT */
#include "transcript.h"
#include "leaves/buf.h"
#include "leaves/mem.h"
#include "parsers/json.h"
#include "parsers/sse.h"
#include "parsers/texts.h"
#include "ring.h"

enum { PARTS_MAX = 64 /* texts of a stream; more count as cut */ };

struct gathered {
    enum transcript_kind kind;
    int32_t choice;
    bool is_inside;
    uint64_t bytes; /* that there were */
    struct buf text;
};

struct transcript {
    struct rings *rings;
    int worker;
    struct transcript_head head;
    size_t most, held;
    struct sse *sse; /* NULL: no stream */
    struct gathered *parts;
    size_t count;
};

struct written { /* a part in a record */
    int32_t kind, choice;
    int64_t is_inside;
    uint64_t bytes, len;
};

struct transcript *transcript_new(struct rings *rings, int worker,
                                  const struct transcript_head *head, size_t most)
{
    struct transcript *transcript = mem_new(sizeof *transcript);

    transcript->rings = rings;
    transcript->worker = worker;
    transcript->head = *head;
    transcript->most = most;
    return transcript;
}

/* ---- bounds ---- */

/* Bytes of what a string's inside begins with: a character, an escape, or the two that are a pair
 * of surrogates. */
static size_t step_of(struct slice inside)
{
    const char *at = inside.ptr;

    if (at[0] != '\\')
        return 1;
    if (at[1] != 'u')
        return 2;
    bool is_high = (at[2] | 0x20) == 'd' && strchr("89abAB", at[3]);
    return is_high && inside.len >= 12 && at[6] == '\\' && at[7] == 'u' ? 12 : 6;
}

/* So much of a text that no character of UTF-8 is cut, and no escape of a string's inside. */
static size_t fit(struct slice text, size_t most, bool is_inside)
{
    size_t len = 0;

    if (text.len <= most)
        return text.len;
    if (is_inside)
        for (size_t step; len < most; len += step) {
            step = step_of((struct slice){text.ptr + len, text.len - len});
            if (len + step > most)
                break;
        }
    else
        len = most;
    return slice_cut(text, len).len;
}

static void add_text(struct transcript *transcript, struct gathered *part, struct slice text)
{
    bool is_cut = part->bytes > part->text.len;
    size_t len = is_cut ? 0 : fit(text, transcript->most - transcript->held, part->is_inside);

    part->bytes += text.len;
    transcript->held += len;
    buf_add(&part->text, (struct slice){text.ptr, len});
}

/* ---- gathering ---- */

/* NULL: there are too many. */
static struct gathered *add_part(struct transcript *transcript, enum transcript_kind kind,
                                 int choice)
{
    if (transcript->count == PARTS_MAX)
        return NULL;
    transcript->parts =
        mem_resize(transcript->parts, (transcript->count + 1) * sizeof *transcript->parts);
    struct gathered *part = &transcript->parts[transcript->count++];
    *part = (struct gathered){.kind = kind, .choice = choice};
    return part;
}

/* The one that goes on; arguments do not go on past the name of the next call. */
static struct gathered *part_of(struct transcript *transcript, enum transcript_kind kind,
                                int choice)
{
    for (size_t i = transcript->count; i-- > 0 && kind != TRANSCRIPT_TOOL;) {
        struct gathered *part = &transcript->parts[i];
        if (part->choice == choice && part->kind == kind)
            return part;
        if (part->choice == choice && part->kind == TRANSCRIPT_TOOL && kind == TRANSCRIPT_TOOL_CALL)
            break;
    }
    return add_part(transcript, kind, choice);
}

static void add(struct transcript *transcript, enum transcript_kind kind, int choice,
                struct slice text, bool is_inside)
{
    struct gathered *part = part_of(transcript, kind, choice);

    if (!part) { /* the last is said to have more than it shows */
        transcript->parts[PARTS_MAX - 1].bytes += text.len;
        return;
    }
    part->is_inside = is_inside;
    add_text(transcript, part, text);
}

static void on_text(void *arg, const struct text_place *place)
{
    enum transcript_kind kind = place->is_name                   ? TRANSCRIPT_TOOL
                                : place->kind == CHUNK_REASONING ? TRANSCRIPT_REASONING
                                : place->kind == CHUNK_TOOL_CALL ? TRANSCRIPT_TOOL_CALL
                                                                 : TRANSCRIPT_CONTENT;
    if (place->inside.len)
        add(arg, kind, place->index, place->inside, true);
}

static void on_event(void *arg, const struct sse_event *event)
{
    struct transcript *transcript = arg;
    struct chunk chunk;

    if (!event->has_data || event->is_done)
        return;
    bool is_chunk = chunk_read(event->data, &chunk) == ERR_OK;
    if (is_chunk && chunk.kind == CHUNK_ERROR) {
        add(transcript, TRANSCRIPT_ERROR, 0, chunk.error, false);
    } else if (is_chunk && chunk.kind != CHUNK_OTHER) {
        texts_each_delta(event->data, on_text, transcript);
        if (chunk.finish.ptr)
            add(transcript, TRANSCRIPT_FINISH, chunk.index, chunk.finish, true);
    } else {
        add(transcript, TRANSCRIPT_OTHER, 0, event->data, false);
        add(transcript, TRANSCRIPT_OTHER, 0, SLICE("\n"), false);
    }
}

/* ---- handing over ---- */

static void write_part(const struct gathered *part, struct buf *out)
{
    struct written written = {
        .kind = (int32_t)part->kind,
        .choice = part->choice,
        .is_inside = part->is_inside,
        .bytes = part->bytes,
        .len = part->text.len,
    };

    buf_add(out, (struct slice){(const char *)&written, sizeof written});
    buf_add(out, buf_slice(&part->text));
}

static void clear(struct transcript *transcript)
{
    for (size_t i = 0; i < transcript->count; i++)
        buf_free(&transcript->parts[i].text);
    transcript->count = transcript->held = 0;
}

static void hand_over(struct transcript *transcript)
{
    struct buf record = {0};
    uint64_t count = transcript->count;

    buf_add(&record, (struct slice){(const char *)&transcript->head, sizeof transcript->head});
    buf_add(&record, (struct slice){(const char *)&count, sizeof count});
    for (size_t i = 0; i < transcript->count; i++)
        write_part(&transcript->parts[i], &record);
    rings_put(transcript->rings, transcript->worker, buf_slice(&record));
    buf_free(&record);
    clear(transcript);
}

void transcript_ask(struct transcript *transcript, struct slice body)
{
    add(transcript, TRANSCRIPT_BODY, 0, body, false);
    hand_over(transcript);
}

void transcript_answer(struct transcript *transcript, struct slice body)
{
    add(transcript, TRANSCRIPT_BODY, 0, body, false);
}

void transcript_stream(struct transcript *transcript, struct slice frames)
{
    if (!transcript->sse)
        transcript->sse = sse_new(0, on_event, transcript);
    if (sse_feed(transcript->sse, frames.ptr, frames.len)) /* larger than any event may be */
        add(transcript, TRANSCRIPT_OTHER, 0, frames, false);
}

void transcript_end(struct transcript *transcript)
{
    if (!transcript)
        return;
    if (transcript->sse && sse_finish(transcript->sse))
        add(transcript, TRANSCRIPT_OTHER, 0, SLICE("\n"), false);
    transcript->head.is_answer = 1;
    if (transcript->count)
        hand_over(transcript);
    sse_free(transcript->sse);
    mem_free(transcript->parts);
    mem_free(transcript);
}

/* ---- the clerk ---- */

/* So many bytes of the record; false: it has not so many. */
static bool take(struct slice *record, void *to, size_t len)
{
    if (record->len < len)
        return false;
    memcpy(to, record->ptr, len);
    record->ptr += len;
    record->len -= len;
    return true;
}

bool transcript_read(struct slice record, struct transcript_head *head,
                     void (*part)(void *arg, const struct transcript_head *head,
                                  const struct transcript_part *part),
                     void *arg)
{
    struct written written;
    uint64_t count;

    if (!take(&record, head, sizeof *head) || !take(&record, &count, sizeof count))
        return false;
    head->request[sizeof head->request - 1] = '\0';
    while (count-- > 0) {
        if (!take(&record, &written, sizeof written) || written.len > record.len)
            return false;
        struct transcript_part one = {
            .kind = (enum transcript_kind)written.kind,
            .choice = written.choice,
            .is_inside = written.is_inside != 0,
            .bytes = written.bytes,
            .text = {record.ptr, written.len},
        };
        part(arg, head, &one);
        record.ptr += written.len;
        record.len -= written.len;
    }
    return true;
}

const char *transcript_kind_name(enum transcript_kind kind)
{
    static const char *const NAMES[] = {
        [TRANSCRIPT_BODY] = "body",           [TRANSCRIPT_CONTENT] = "content",
        [TRANSCRIPT_REASONING] = "reasoning", [TRANSCRIPT_TOOL] = "tool",
        [TRANSCRIPT_TOOL_CALL] = "tool_call", [TRANSCRIPT_FINISH] = "finish",
        [TRANSCRIPT_ERROR] = "error",         [TRANSCRIPT_OTHER] = "other",
    };
    return (size_t)kind < sizeof NAMES / sizeof *NAMES ? NAMES[kind] : "other";
}
