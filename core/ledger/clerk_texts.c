/* clerk_texts.c -- one transaction for what is in all rings; it is taken out of them when that is
 * made, so a clerk that dies in between adds it once more, which adds nothing. */
/* SPDX-License-Identifier: MIT */
#include "clerk_texts.h"
#include "accounts/keys.h"
#include "accounts/ring.h"
#include "accounts/transcript.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "parsers/json.h"
#include <stdio.h>

enum { SPARE = 16 /* a part of the room, that is made when it is full */, SHED_TEXTS = 8 };

static const int64_t RETRY_US = 1000000; /* after a failure */
static const int64_t TURN_US = 1000000;
static const int64_t SWEEP_US = 100000; /* of a turn: journals wait meanwhile */
static const int64_t TAKE_US = 10000;   /* of a pass, of which there may be fifty a second */

static void shed(struct clerk_texts *texts);

struct clerk_texts {
    char *path;
    struct archive *archive; /* NULL: nothing was ever stored */
    struct rings *rings;
    struct keys *keys;
    struct buf text;
    uint64_t at[RING_COUNT]; /* how far each ring has been read */
    uint64_t added;          /* in this transaction */
    int first;               /* ring of a pass */
    int64_t allowed_s;       /* what is there was last shortened to */
    int64_t retry_at_us, sweep_at_us;
    bool is_over;    /* there are more than the room is for */
    bool is_open;    /* a transaction is */
    bool is_failing; /* it cannot be made */
    bool has_failed; /* and the log knows */
};

static void log_failure(struct clerk_texts *texts, const char *why)
{
    texts->retry_at_us = loop_now_us() + RETRY_US;
    if (texts->has_failed)
        return;
    texts->has_failed = true;
    struct log_line line = log_begin(LOG_ERROR, "texts_unavailable");
    log_str(&line, "path", texts->path);
    log_str(&line, "error", why);
    log_end(&line);
}

static void log_recovery(struct clerk_texts *texts)
{
    if (!texts->has_failed)
        return;
    texts->has_failed = false;
    struct log_line line = log_begin(LOG_INFO, "texts_available");
    log_end(&line);
}

/* False: it cannot be, which the log says, or there is none and none is to be made. */
static bool open_archive(struct clerk_texts *texts, bool may_make)
{
    struct buf problem = {0};

    if (texts->archive)
        return true;
    texts->archive = archive_open(texts->path, may_make, &problem);
    buf_add_char(&problem, '\0');
    if (!texts->archive && may_make)
        log_failure(texts, problem.ptr);
    buf_free(&problem);
    return texts->archive != NULL;
}

struct clerk_texts *clerk_texts_new(const char *folder, struct rings *rings, struct keys *keys)
{
    struct clerk_texts *texts = mem_new(sizeof *texts);
    char path[4096];

    snprintf(path, sizeof path, "%s/texts.db", folder);
    texts->path = mem_dup(slice_of(path));
    texts->rings = rings;
    texts->keys = keys;
    open_archive(texts, false);
    return texts;
}

void clerk_texts_free(struct clerk_texts *texts)
{
    if (!texts)
        return;
    archive_close(texts->archive);
    buf_free(&texts->text);
    mem_free(texts->path);
    mem_free(texts);
}

/* ---- taking ---- */

/* For how long it is kept; 0: its key stores nothing any more.  A shorter time that was set while
 * it was on its way holds for it as for what is there (follow). */
static int64_t keep_of(const struct clerk_texts *texts, const struct transcript_head *head)
{
    struct keys_account account;
    int64_t allowed_s = rings_allowed(texts->rings).keep_s, keep_s = head->keep_s;

    if (!keys_look(texts->keys, head->account, &account))
        return 0;
    if (allowed_s && allowed_s < keep_s)
        keep_s = allowed_s;
    return account.store_s < keep_s ? account.store_s : keep_s;
}

/* Half a pair of surrogates, or NUL, is shown as it was written. */
static struct slice text_of(struct clerk_texts *texts, const struct transcript_part *part)
{
    buf_clear(&texts->text);
    if (!part->is_inside || json_unescape(part->text, &texts->text))
        return part->text;
    return buf_slice(&texts->text);
}

static void add_part(void *arg, const struct transcript_head *head,
                     const struct transcript_part *part)
{
    struct clerk_texts *texts = arg;
    struct archive_part one = {
        .kind = transcript_kind_name(part->kind), .choice = part->choice, .bytes = part->bytes};

    one.text = text_of(texts, part);
    if (part->bytes == part->text.len) /* escapes are not counted where nothing is cut */
        one.bytes = one.text.len;
    texts->is_failing = texts->is_failing || !archive_add_part(texts->archive, &one);
}

static void pass_over(void *arg, const struct transcript_head *head,
                      const struct transcript_part *part)
{
}

/* False: the archive does not take it now. */
static bool add(struct clerk_texts *texts, struct slice record)
{
    struct transcript_head head;

    if (!transcript_read(record, &head, pass_over, NULL))
        return true;
    int64_t keep_s = keep_of(texts, &head);
    if (keep_s == 0)
        return true;
    if (!open_archive(texts, true))
        return false;
    if (!texts->is_open && !archive_begin(texts->archive))
        return false;
    texts->is_open = true;
    struct archive_text text = {
        .request = slice_of(head.request),
        .account = head.account,
        .is_answer = head.is_answer != 0,
        .time_us = head.time_us,
        .ends_us = head.time_us + keep_s * 1000000,
    };
    texts->is_failing = !archive_add(texts->archive, &text);
    if (!texts->is_failing)
        transcript_read(record, &head, add_part, texts);
    texts->added++;
    return !texts->is_failing;
}

/* Each worker's turn to be the first comes. */
static bool add_until(struct clerk_texts *texts, int64_t until_us)
{
    struct slice record;

    texts->first = (texts->first + 1) % RING_COUNT;
    for (int i = 0; i < RING_COUNT; i++)
        texts->at[i] = rings_begin(texts->rings, i);
    for (int i = 0; i < RING_COUNT; i++) {
        int worker = (texts->first + i) % RING_COUNT;
        while (rings_next(texts->rings, worker, &texts->at[worker], &record)) {
            if (!add(texts, record))
                return false;
            if (loop_now_us() >= until_us)
                return !texts->is_open || archive_commit(texts->archive);
        }
    }
    return !texts->is_open || archive_commit(texts->archive);
}

static void take_until(struct clerk_texts *texts, int64_t until_us)
{
    if (loop_now_us() < texts->retry_at_us)
        return;
    texts->added = 0;
    texts->is_open = false;
    if (add_until(texts, until_us)) {
        for (int i = 0; i < RING_COUNT; i++)
            rings_take(texts->rings, i, texts->at[i]);
        rings_count(texts->rings, RINGS_STORED, texts->added);
        if (texts->added)
            log_recovery(texts);
        if (texts->added || texts->is_over)
            shed(texts);
    } else if (texts->archive) {
        log_failure(texts, archive_problem(texts->archive));
        archive_rollback(texts->archive);
    }
}

void clerk_texts_take(struct clerk_texts *texts)
{
    take_until(texts, INT64_MAX);
}

/* ---- ending ---- */

static void sweep(struct clerk_texts *texts)
{
    int64_t until_us = loop_now_us() + SWEEP_US;
    int count, all = 0;

    do {
        count = archive_sweep(texts->archive, loop_wall_us());
        all += count > 0 ? count : 0;
    } while (count == ARCHIVE_SWEEP && loop_now_us() < until_us);
    if (count < 0)
        log_failure(texts, archive_problem(texts->archive));
    if (all == 0)
        return;
    archive_tidy(texts->archive);
    struct log_line line = log_begin(LOG_DEBUG, "texts_removed");
    log_int(&line, "texts", all);
    log_end(&line);
}

static void log_over(const struct clerk_texts *texts, int64_t bytes, int64_t room)
{
    struct log_line line = log_begin(LOG_WARN, "texts_over_room");
    log_int(&line, "bytes", bytes);
    log_int(&line, "room", room);
    log_end(&line);
}

/* Where there are more than room is for, the oldest go, and a little more: so it is seldom. */
static void shed(struct clerk_texts *texts)
{
    int64_t room = rings_allowed(texts->rings).room, until_us = loop_now_us() + SWEEP_US;
    int64_t bytes = archive_bytes(texts->archive);

    if (room && bytes > room && !texts->is_over)
        log_over(texts, bytes, room);
    texts->is_over = room && bytes > (texts->is_over ? room - room / SPARE : room);
    if (!texts->is_over)
        return;
    do {
        if (!archive_end_oldest(texts->archive, SHED_TEXTS, loop_wall_us()) ||
            archive_sweep(texts->archive, loop_wall_us()) < 0) {
            log_failure(texts, archive_problem(texts->archive));
            return;
        }
    } while (archive_bytes(texts->archive) > room - room / SPARE && loop_now_us() < until_us);
    archive_tidy(texts->archive);
}

/* A configuration that allows less holds for what is there, too. */
static void follow(struct clerk_texts *texts)
{
    int64_t allowed_s = rings_allowed(texts->rings).keep_s;

    if (allowed_s == texts->allowed_s)
        return;
    if (allowed_s && !archive_shorten(texts->archive, 0, allowed_s, loop_wall_us()))
        log_failure(texts, archive_problem(texts->archive));
    else
        texts->allowed_s = allowed_s;
}

void clerk_texts_turn(struct clerk_texts *texts)
{
    int64_t now_us = loop_now_us();

    take_until(texts, now_us + TAKE_US);
    if (!texts->archive || now_us < texts->retry_at_us || now_us < texts->sweep_at_us)
        return;
    texts->sweep_at_us = now_us + TURN_US;
    follow(texts);
    sweep(texts);
}

int64_t clerk_texts_allowed(const struct clerk_texts *texts)
{
    return rings_allowed(texts->rings).keep_s;
}

bool clerk_texts_shorten(struct clerk_texts *texts, int32_t account, int64_t keep_s)
{
    clerk_texts_take(texts);
    if (!texts->archive)
        return true;
    if (!archive_shorten(texts->archive, account, keep_s, loop_wall_us()))
        return false;
    sweep(texts);
    return true;
}

bool clerk_texts_each(struct clerk_texts *texts, struct slice request,
                      void (*visit)(void *arg, const struct archive_text *text,
                                    const struct archive_part *part),
                      void *arg)
{
    clerk_texts_take(texts);
    return !texts->archive || archive_each(texts->archive, request, loop_wall_us(), visit, arg);
}
