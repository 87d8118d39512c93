/* log.h -- structured lines, one an event: logfmt or JSON.
 *
 * A line is an event name and fields.  Control bytes are escaped, values are
 * cut at 1 KiB and lines at 8 KiB, and what looks like a credential (Bearer …,
 * sk-…, wk-…, gsk_…, csk-…, AIza…, xai-…, key-…) is masked.  Prompts never
 * come here.  One line at a time is built, in one buffer: a process that logs
 * has one thread. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "buf.h"
#include "slice.h"
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_LOGFMT, LOG_JSON };

/* Where lines go: fd is borrowed (2 until this is called). */
void log_open(int fd, enum log_level level, enum log_format format);
bool log_wants(enum log_level level);

/* Lines are appended to lines instead; NULL: to the descriptor again.  Borrowed. */
void log_capture(struct buf *lines);

struct log_line {    /* on the caller's stack, between log_begin and log_end */
    unsigned serial; /* private: 0 when the level is not wanted */
};

/*   struct log_line line = log_begin(LOG_INFO, "attempt");
 *   log_text(&line, "target", slice);  log_int(&line, "status", 429);
 *   log_end(&line);
 *
 * A line begun before another has ended replaces it: what is then said to the
 * first is ignored, so a line may also be left without log_end. */
struct log_line log_begin(enum log_level level, const char *event);
void log_text(struct log_line *line, const char *key, struct slice value);
void log_str(struct log_line *line, const char *key, const char *value); /* NULL: left out */
void log_int(struct log_line *line, const char *key, int64_t value);
void log_ms(struct log_line *line, const char *key, int64_t us); /* microseconds, shown as ms */
void log_bool(struct log_line *line, const char *key, bool value);
void log_end(struct log_line *line); /* one write(2); a full pipe drops the line and counts it */

/* Masks credentials in text, appended to out: also used on providers' error texts. */
void log_redact(struct buf *out, struct slice text);
