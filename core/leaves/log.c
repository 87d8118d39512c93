/* log.c -- one static buffer, filled field by field and written at once.
 *
 * Nothing here allocates or blocks.  A line that the descriptor does not take
 * at once is dropped and counted; the next one that goes out carries the
 * count as dropped=N. */
/* SPDX-License-Identifier: MIT */
#include "log.h"
#include "redact.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

enum {
    LOG_MAX_LINE = 8192,
    LOG_MAX_VALUE = 1024, /* bytes of a value before escaping, which makes at most 6 of one */
    LOG_MAX_KEY = 64,
    LOG_TAIL = 64, /* kept for ,"cut":true,"dropped":N} and the newline */
};

static const char MARK[] = "\xe2\x80\xa6";        /* U+2026, for what was left out */
static const char REPLACEMENT[] = "\xef\xbf\xbd"; /* U+FFFD, for bytes that are not UTF-8 */

static struct {
    struct buf *captured; /* where lines go instead; NULL: to fd */
    int fd;
    enum log_level level;
    enum log_format format;
    bool may_block;   /* fd is in blocking mode: ask before writing */
    bool is_torn;     /* half a line went out: the next begins with a newline */
    uint64_t dropped; /* lines since the last that went out */
    unsigned serial;  /* of the line in text */
    time_t second;    /* that stamp shows */
    char stamp[24];   /* "2025-01-31T23:59:59" */
    size_t len;       /* bytes of text */
    bool is_cut;      /* a field did not fit */
    bool is_full;     /* the field being added did not fit */
    char text[LOG_MAX_LINE];
} out = {.fd = 2, .level = LOG_INFO, .may_block = true};

static void put(const char *bytes, size_t len);
static void put_char(char c);
static void put_text(const char *text);
static void put_number(uint64_t number, size_t digits);
static void put_code(unsigned char c);
static uint64_t magnitude(int64_t value);
static void put_time(void);
static void put_key(const char *key);
static void put_value(struct slice value);
static void put_escaped(struct slice text);
static size_t put_unsafe(struct slice text);
static bool is_open(const struct log_line *line);
static size_t begin_field(const char *key);
static void end_field(size_t before);
static void write_line(void);
static bool would_block(void);
static bool needs_quotes(struct slice value);
static size_t utf8_len(const char *text, size_t left);

/* ---- lines ---- */

void log_open(int fd, enum log_level level, enum log_format format)
{
    int flags = fcntl(fd, F_GETFL);

    out.fd = fd;
    out.level = level;
    out.format = format;
    out.may_block = flags < 0 || !(flags & O_NONBLOCK);
    out.is_torn = false;
}

void log_capture(struct buf *lines)
{
    out.captured = lines;
}

bool log_wants(enum log_level level)
{
    return level >= out.level;
}

struct log_line log_begin(enum log_level level, const char *event)
{
    static const char *const names[] = {"debug", "info", "warn", "error"};

    if (!log_wants(level))
        return (struct log_line){0};
    if (++out.serial == 0)
        out.serial = 1;
    out.len = 0;
    out.is_cut = out.is_full = false;

    struct log_line line = {out.serial};
    if (out.format == LOG_JSON)
        put_char('{');
    put_time();
    log_str(&line, "level", names[level]);
    log_str(&line, "event", event);
    return line;
}

void log_text(struct log_line *line, const char *key, struct slice value)
{
    if (!is_open(line))
        return;
    size_t before = begin_field(key);
    put_value(value);
    end_field(before);
}

void log_str(struct log_line *line, const char *key, const char *value)
{
    if (value)
        log_text(line, key, slice_of(value));
}

void log_int(struct log_line *line, const char *key, int64_t value)
{
    if (!is_open(line))
        return;
    size_t before = begin_field(key);
    if (value < 0)
        put_char('-');
    put_number(magnitude(value), 1);
    end_field(before);
}

void log_ms(struct log_line *line, const char *key, int64_t us)
{
    if (!is_open(line))
        return;
    size_t before = begin_field(key);
    if (us < 0)
        put_char('-');
    put_number(magnitude(us) / 1000, 1);
    put_char('.');
    put_number(magnitude(us) % 1000, 3);
    end_field(before);
}

void log_bool(struct log_line *line, const char *key, bool value)
{
    if (!is_open(line))
        return;
    size_t before = begin_field(key);
    put_text(value ? "true" : "false");
    end_field(before);
}

void log_end(struct log_line *line)
{
    if (!is_open(line))
        return;
    line->serial = 0;
    if (out.is_cut)
        put_text(out.format == LOG_JSON ? ",\"cut\":true" : " cut=true");
    if (out.dropped) {
        put_text(out.format == LOG_JSON ? ",\"dropped\":" : " dropped=");
        put_number(out.dropped, 1);
    }
    if (out.format == LOG_JSON)
        put_char('}');
    put_char('\n');
    write_line();
    out.len = 0;
}

void log_redact(struct buf *to, struct slice text)
{
    struct redact_span secret;
    size_t at = 0;

    while (redact_find(text, at, text.len, &secret)) {
        buf_add(to, (struct slice){text.ptr + at, secret.shown - at});
        buf_add_text(to, MARK);
        at = secret.end;
    }
    if (at < text.len)
        buf_add(to, (struct slice){text.ptr + at, text.len - at});
}

/* ---- the descriptor ---- */

static void write_line(void)
{
    ssize_t sent = -1;

    if (out.captured) {
        buf_add(out.captured, (struct slice){out.text, out.len});
        return;
    }
    if (!would_block()) {
        do
            sent = write(out.fd, out.text, out.len);
        while (sent < 0 && errno == EINTR);
    }
    if (sent > 0)
        out.is_torn = (size_t)sent < out.len;
    if (sent == (ssize_t)out.len)
        out.dropped = 0;
    else
        out.dropped++;
}

/* A descriptor that others share is not ours to make non-blocking; a pipe or
 * terminal that nobody reads must stall no stream all the same. */
static bool would_block(void)
{
    struct pollfd ready = {.fd = out.fd, .events = POLLOUT};

    return out.may_block && poll(&ready, 1, 0) == 0;
}

/* ---- fields ---- */

static bool is_open(const struct log_line *line)
{
    return line->serial && line->serial == out.serial;
}

static size_t begin_field(const char *key)
{
    size_t before = out.len;

    out.is_full = false;
    put_char(out.format == LOG_JSON ? ',' : ' ');
    put_key(key);
    return before;
}

/* A field goes in whole or not at all. */
static void end_field(size_t before)
{
    if (!out.is_full && out.len <= LOG_MAX_LINE - LOG_TAIL)
        return;
    out.len = before;
    out.is_cut = true;
    out.is_full = false;
}

static void put(const char *bytes, size_t len)
{
    if (len > LOG_MAX_LINE - out.len) {
        out.is_full = true;
        return;
    }
    memcpy(out.text + out.len, bytes, len);
    out.len += len;
}

static void put_char(char c)
{
    put(&c, 1);
}

static void put_text(const char *text)
{
    put(text, strlen(text));
}

/* Decimal, with leading zeros up to so many digits. */
static void put_number(uint64_t number, size_t digits)
{
    char text[24];
    size_t at = sizeof text;

    while (number || sizeof text - at < digits) {
        text[--at] = (char)('0' + number % 10);
        number /= 10;
    }
    put(text + at, sizeof text - at);
}

/* INT64_MIN has an absolute value too. */
static uint64_t magnitude(int64_t value)
{
    return value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
}

/* A control character, of which none is above U+009f. */
static void put_code(unsigned char c)
{
    static const char hex[] = "0123456789abcdef";

    put_text("\\u00");
    put_char(hex[c >> 4]);
    put_char(hex[c & 15]);
}

/* RFC 3339, UTC; the calendar is asked once a second. */
static void put_time(void)
{
    struct timespec now;

    if (out.is_torn)
        put_char('\n');
    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != out.second || !out.stamp[0]) {
        struct tm tm;
        strftime(out.stamp, sizeof out.stamp, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &tm));
        out.second = now.tv_sec;
    }
    put_key("time");
    put_text(out.format == LOG_JSON ? "\"" : "");
    put_text(out.stamp);
    put_char('.');
    put_number((uint64_t)now.tv_nsec / 1000000, 3);
    put_text(out.format == LOG_JSON ? "Z\"" : "Z");
}

/* Keys may come from a policy: what would end a key or need escaping turns to '_'. */
static void put_key(const char *key)
{
    char safe[LOG_MAX_KEY + 4];
    size_t len = 0;

    if (out.format == LOG_JSON)
        safe[len++] = '"';
    size_t most = strnlen(key, LOG_MAX_KEY);
    for (size_t i = 0; i < most; i++) {
        bool is_safe = key[i] > ' ' && key[i] < 0x7f && !strchr("\"=\\", key[i]);
        safe[len++] = is_safe ? key[i] : '_';
    }
    if (out.format == LOG_JSON)
        safe[len++] = '"';
    safe[len++] = out.format == LOG_JSON ? ':' : '=';
    put(safe, len);
}

static void put_value(struct slice value)
{
    struct slice kept = slice_cut(value, LOG_MAX_VALUE);
    bool is_quoted = out.format == LOG_JSON || needs_quotes(kept);
    struct redact_span secret;
    size_t at = 0;

    if (is_quoted)
        put_char('"');
    while (redact_find(value, at, kept.len, &secret)) {
        put_escaped((struct slice){value.ptr + at, secret.shown - at});
        put(MARK, sizeof MARK - 1);
        at = secret.end;
    }
    if (at < kept.len)
        put_escaped((struct slice){value.ptr + at, kept.len - at});
    if (kept.len < value.len)
        put(MARK, sizeof MARK - 1);
    if (is_quoted)
        put_char('"');
}

/* 0xc2 leads the control characters U+0080 to U+009f. */
static bool needs_quotes(struct slice value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f || c == 0xc2)
            return true;
    }
    return value.len == 0;
}

static bool is_plain(unsigned char c)
{
    return c >= ' ' && c < 0x7f && c != '"' && c != '\\';
}

/* Escapes as JSON does; readers of logfmt understand the same. */
static void put_escaped(struct slice text)
{
    size_t at = 0;

    while (at < text.len) {
        size_t run = at;
        while (run < text.len && is_plain((unsigned char)text.ptr[run]))
            run++;
        put(text.ptr + at, run - at);
        at = run;
        if (at < text.len)
            at += put_unsafe((struct slice){text.ptr + at, text.len - at});
    }
}

/* One character that is not plain ASCII; gives the bytes it takes in text. */
static size_t put_unsafe(struct slice text)
{
    unsigned char c = (unsigned char)text.ptr[0];
    size_t len = utf8_len(text.ptr, text.len);

    if (len == 0) {
        put(REPLACEMENT, sizeof REPLACEMENT - 1);
        return 1;
    }
    if (len == 2 && c == 0xc2 && (unsigned char)text.ptr[1] < 0xa0) {
        put_code((unsigned char)text.ptr[1]);
        return 2;
    }
    if (len > 1) {
        put(text.ptr, len);
        return len;
    }
    switch (c) {
    case '"': put("\\\"", 2); break;
    case '\\': put("\\\\", 2); break;
    case '\n': put("\\n", 2); break;
    case '\r': put("\\r", 2); break;
    case '\t': put("\\t", 2); break;
    default: put_code(c); break;
    }
    return 1;
}

/* Bytes of the well-formed character that text begins with (RFC 3629), else 0. */
static size_t utf8_len(const char *text, size_t left)
{
    const unsigned char *p = (const unsigned char *)text;

    if (p[0] < 0x80)
        return 1;
    size_t len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    if (p[0] < 0xc2 || p[0] > 0xf4 || left < len)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool is_overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool is_no_character = (p[0] == 0xed && p[1] >= 0xa0) || (p[0] == 0xf4 && p[1] >= 0x90);
    return is_overlong || is_no_character ? 0 : len;
}
