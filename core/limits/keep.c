/* keep.c -- lanes as lines.
 *
 *   weir-limits 1 1767225600000000           the form, and the wall clock, in microseconds
 *   lane 1 groq llama-3.3 12000000 1 0 410000 900 rate_limited rpm
 *   quota rpd 14400 14370 86000000 0         limit, left, until the reset, gain
 *   window rpm 30 0:2 1:5                    limit, slots back: how many
 *   end f00dfeed12345678                     the hash of all before */
/* SPDX-License-Identifier: MIT */
#include "keep.h"
#include "leaves/folder.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const int64_t SAVE_US = 1000000; /* what kill -9 of the master may lose */

enum { FILE_MAX = 16 * 1024 * 1024, WORD_MAX = 3 * LANE_NAME + 1 };

struct keep {
    char *path;
    struct limits *limits;
    uint64_t saved; /* the change that was written last */
    int64_t next_us;
    bool has_failed; /* and the log knows */
};

#define GET(number)     atomic_load_explicit(&(number), memory_order_relaxed)
#define SET(number, to) atomic_store_explicit(&(number), (to), memory_order_relaxed)

/* ---- writing ---- */

struct writing {
    struct buf *out;
    int64_t now_us;
};

/* A word of the line: spaces and what is not printable as %20; nothing as -. */
static void add_word(struct buf *out, struct slice word)
{
    buf_add_char(out, ' ');
    if (word.len == 0 || (word.len == 1 && word.ptr[0] == '-'))
        buf_add_text(out, word.len ? "%2d" : "-");
    for (size_t i = 0; i < word.len && !(word.len == 1 && word.ptr[0] == '-'); i++) {
        unsigned char byte = (unsigned char)word.ptr[i];
        if (byte > ' ' && byte < 127 && byte != '%')
            buf_add_char(out, (char)byte);
        else
            buf_add_format(out, "%%%02x", byte);
    }
}

static void write_quotas(struct writing *writing, const struct lane *lane)
{
    for (int i = 0; i < QUOTA_COUNT; i++) {
        const struct quota *quota = &lane->quotas[i];
        if (!(GET(lane->told) >> i & 1) || GET(quota->left) < 0)
            continue;
        buf_add_format(
            writing->out, "quota %s %lld %lld %lld %lld\n", quota_name((enum quota_dimension)i),
            (long long)GET(quota->limit), (long long)GET(quota->left),
            (long long)(GET(quota->reset_us) - writing->now_us), (long long)GET(quota->gain_us));
    }
}

static void write_windows(struct writing *writing, const struct lane *lane)
{
    for (int i = 0; i < WINDOW_COUNT; i++) {
        const struct window *window = &lane->windows[i];
        if (!GET(window->used))
            continue;
        buf_add_format(writing->out, "window %s %lld",
                       quota_name(lane_dimension((enum lane_window)i)),
                       (long long)GET(window->limit));
        for (int back = 0; back < WINDOW_SLOTS; back++) {
            int32_t count = window->slots[(window->slot - back + WINDOW_SLOTS) % WINDOW_SLOTS];
            if (count)
                buf_add_format(writing->out, " %d:%d", back, (int)count);
        }
        buf_add_char(writing->out, '\n');
    }
}

static void write_lane(void *arg, struct lane *lane)
{
    struct writing *writing = arg;
    struct slice provider = {lane->name, (size_t)lane->provider_len}, model = {NULL, 0};
    int64_t until_us = GET(lane->until_us);

    need_turn(lane, writing->now_us);
    bool is_used = until_us || GET(lane->told) || GET(lane->faults);
    for (int i = 0; i < WINDOW_COUNT; i++)
        is_used = is_used || GET(lane->windows[i].used);
    if (!is_used || lane->name_len >= LANE_NAME) /* a name that was cut names another */
        return;
    if (lane->name_len > lane->provider_len)
        model = (struct slice){lane->name + lane->provider_len + 1,
                               (size_t)(lane->name_len - lane->provider_len - 1)};
    buf_add_format(writing->out, "lane %d", (int)lane->key);
    add_word(writing->out, provider);
    add_word(writing->out, model);
    buf_add_format(writing->out, " %lld %d %d %lld %lld",
                   (long long)(until_us ? until_us - writing->now_us : 0),
                   until_us ? 1 + (int)GET(lane->probes) : 0, (int)GET(lane->faults),
                   (long long)GET(lane->latency_us), (long long)GET(lane->tokens));
    add_word(writing->out, slice_of(lane->reason));
    add_word(writing->out, slice_of(lane->dimension));
    buf_add_char(writing->out, '\n');
    write_quotas(writing, lane);
    write_windows(writing, lane);
}

void keep_write(struct limits *limits, int64_t now_us, int64_t wall_us, struct buf *out)
{
    struct writing writing = {.out = out, .now_us = now_us};

    buf_add_format(out, "weir-limits 1 %lld\n", (long long)wall_us);
    lanes_each(limits_lanes(limits), write_lane, &writing);
    buf_add_format(out, "end %016llx\n", (unsigned long long)slice_hash(buf_slice(out)));
}

/* ---- reading ---- */

struct reading {
    struct limits *limits;
    struct lane *lane; /* locked; NULL: none yet, or no room for it */
    int64_t now_us;
    int64_t past_us; /* since the file was written */
};

static bool read_word(const char **at, char *word, size_t size)
{
    size_t len = 0;

    if (**at != ' ')
        return false;
    for (++*at; **at && **at != ' ' && len + 1 < size; ++*at) {
        unsigned byte = (unsigned char)**at;
        if (byte == '%') {
            if (sscanf(*at + 1, "%2x", &byte) != 1)
                return false;
            *at += 2;
        }
        word[len++] = (char)byte;
    }
    word[len] = '\0';
    if (strcmp(word, "-") == 0 && (*at)[-1] == '-')
        word[0] = '\0';
    return true;
}

static bool read_number(const char **at, int64_t *number)
{
    char *end;

    *number = strtoll(*at, &end, 10);
    bool is_one = end != *at;
    *at = end;
    return is_one;
}

static void let_go(struct reading *reading)
{
    if (reading->lane)
        lanes_unlock(limits_lanes(reading->limits), reading->lane);
    reading->lane = NULL;
}

/* What is left of a time; what is over is a moment ago: half open. */
static int64_t when_us(const struct reading *reading, int64_t wait_us, int64_t most_us)
{
    int64_t left_us = wait_us - reading->past_us;
    int64_t until_us = reading->now_us + (left_us > most_us ? most_us : left_us);

    return until_us > 0 ? until_us : 1;
}

static bool read_lane(struct reading *reading, const char *at)
{
    char provider[WORD_MAX], model[WORD_MAX], reason[LANE_REASON], dimension[8];
    int64_t key, wait_us, closed, faults, latency_us, tokens;

    let_go(reading);
    if (!read_number(&at, &key) || !read_word(&at, provider, sizeof provider) ||
        !read_word(&at, model, sizeof model) || !read_number(&at, &wait_us) ||
        !read_number(&at, &closed) || !read_number(&at, &faults) ||
        !read_number(&at, &latency_us) || !read_number(&at, &tokens) ||
        !read_word(&at, reason, sizeof reason) || !read_word(&at, dimension, sizeof dimension) ||
        key < 0 || key > LIMITS_KEYS)
        return false;
    struct limits_target target = limits_target(slice_of(provider), slice_of(model), 1, NULL);
    struct lane *lane = limits_lock(reading->limits, &target,
                                    !key       ? LIMITS_TARGET
                                    : model[0] ? LIMITS_BOTH
                                               : LIMITS_KEY,
                                    (int)key, reading->now_us);
    if (!lane)
        return true;
    reading->lane = lane;
    SET(lane->until_us, closed ? when_us(reading, wait_us, 86400 * (int64_t)1000000) : 0);
    SET(lane->probes, closed == 2);
    SET(lane->faults, (int32_t)faults);
    SET(lane->latency_us, latency_us);
    SET(lane->tokens, tokens);
    memcpy(lane->reason, reason, sizeof reason);
    memcpy(lane->dimension, dimension, sizeof dimension);
    return true;
}

static bool read_quota(struct reading *reading, const char *at)
{
    char name[16];
    int64_t limit, left, wait_us, gain_us;
    bool is_read = read_word(&at, name, sizeof name) && read_number(&at, &limit) &&
                   read_number(&at, &left) && read_number(&at, &wait_us) &&
                   read_number(&at, &gain_us);
    enum quota_dimension dimension = is_read ? quota_named(slice_of(name)) : QUOTA_COUNT;

    if (!is_read || dimension == QUOTA_COUNT || left < 0 || gain_us < 0)
        return false;
    if (!reading->lane || wait_us <= reading->past_us)
        return true; /* all of it is back: nothing is known */
    struct quota *quota = &reading->lane->quotas[dimension];
    SET(quota->limit, limit);
    SET(quota->left, left);
    SET(quota->reset_us, when_us(reading, wait_us, quota_period_us(QUOTA_RPMONTH)));
    SET(quota->gain_us, gain_us);
    SET(reading->lane->told, GET(reading->lane->told) | 1u << dimension);
    return true;
}

static bool read_window(struct reading *reading, const char *at)
{
    char name[16];
    int64_t limit, back, count;
    int i = 0;

    if (!read_word(&at, name, sizeof name) || !read_number(&at, &limit))
        return false;
    while (i < WINDOW_COUNT && strcmp(name, quota_name(lane_dimension((enum lane_window)i))) != 0)
        i++;
    if (i == WINDOW_COUNT)
        return false;
    int64_t period_us = quota_period_us(lane_dimension((enum lane_window)i));
    struct window *window = reading->lane ? &reading->lane->windows[i] : NULL;
    if (window) {
        window_turn(window, period_us, reading->now_us);
        SET(window->limit, limit);
    }
    while (*at == ' ') {
        if (!read_number(&at, &back) || *at++ != ':' || !read_number(&at, &count) || back < 0 ||
            count < 0)
            return false;
        int64_t age_us = reading->past_us + back * (period_us / (WINDOW_SLOTS - 1));
        if (window)
            window_add(window, period_us, reading->now_us - age_us, count);
    }
    return true;
}

static bool read_line(struct reading *reading, const char *line)
{
    if (strncmp(line, "lane ", 5) == 0)
        return read_lane(reading, line + 4);
    if (strncmp(line, "quota ", 6) == 0)
        return read_quota(reading, line + 5);
    if (strncmp(line, "window ", 7) == 0)
        return read_window(reading, line + 6);
    return false;
}

/* Where the last line begins; NULL: it does not vouch for those before it. */
static const char *find_end(struct slice text)
{
    size_t len = text.len;
    char last[32];

    if (len < 2 || text.ptr[len - 1] != '\n')
        return NULL;
    for (len--; len && text.ptr[len - 1] != '\n'; len--)
        ;
    struct slice before = {text.ptr, len};
    snprintf(last, sizeof last, "end %016llx\n", (unsigned long long)slice_hash(before));
    return slice_is((struct slice){text.ptr + len, text.len - len}, last) ? text.ptr + len : NULL;
}

const char *keep_read(struct limits *limits, struct slice text, int64_t now_us, int64_t wall_us)
{
    struct reading reading = {.limits = limits, .now_us = now_us};
    const char *end = find_end(text), *why = NULL, *at;
    long long saved_us;

    if (!end)
        return "it is torn, or none of ours";
    char *line = mem_dup(text);
    if (sscanf(line, "weir-limits 1 %lld", &saved_us) != 1)
        why = "it is of another version";
    else
        reading.past_us = wall_us > saved_us ? wall_us - saved_us : 0;
    at = why ? end : strchr(line, '\n') + 1 - line + text.ptr;
    while (at < end && !why) {
        const char *next = memchr(at, '\n', (size_t)(end - at));
        size_t from = (size_t)(at - text.ptr), len = (size_t)(next - at);
        line[from + len] = '\0';
        if (!read_line(&reading, line + from))
            why = "a line of it cannot be read";
        at = next + 1;
    }
    let_go(&reading);
    mem_free(line);
    return why;
}

/* ---- the file ---- */

static void log_problem(const struct keep *keep, const char *event, const char *why)
{
    struct log_line line = log_begin(LOG_WARN, event);

    log_str(&line, "path", keep->path);
    log_str(&line, "error", why);
    log_end(&line);
}

static void load(struct keep *keep)
{
    struct buf text = {0};
    int fd = open(keep->path, O_RDONLY | O_CLOEXEC);
    ssize_t len = 1;

    if (fd < 0 && errno != ENOENT)
        log_problem(keep, "limits_file_ignored", strerror(errno));
    if (fd < 0)
        return;
    while (len > 0 && text.len < FILE_MAX) {
        len = read(fd, buf_reserve(&text, 65536), 65536);
        text.len += len > 0 ? (size_t)len : 0;
    }
    close(fd);
    const char *why = keep_read(keep->limits, buf_slice(&text), loop_now_us(), loop_wall_us());
    if (why)
        log_problem(keep, "limits_file_ignored", why);
    buf_free(&text);
}

static bool write_all(int fd, struct slice text)
{
    while (text.len) {
        ssize_t len = write(fd, text.ptr, text.len);
        if (len <= 0)
            return false;
        text.ptr += len;
        text.len -= (size_t)len;
    }
    return true;
}

static bool replace(const char *path, struct slice text)
{
    struct buf beside = {0};

    buf_add_format(&beside, "%s.new", path);
    buf_add_char(&beside, '\0');
    unlink(beside.ptr); /* what a killed gateway left, or a link that somebody laid there */
    int fd = open(beside.ptr, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool is_done = fd >= 0 && write_all(fd, text);
    if (fd >= 0)
        close(fd);
    is_done = is_done && rename(beside.ptr, path) == 0;
    buf_free(&beside);
    return is_done;
}

static void save(struct keep *keep)
{
    struct buf text = {0};

    keep->saved = lanes_changes(limits_lanes(keep->limits));
    keep_write(keep->limits, loop_now_us(), loop_wall_us(), &text);
    folder_make_around(keep->path);
    bool is_done = replace(keep->path, buf_slice(&text));
    if (!is_done && !keep->has_failed)
        log_problem(keep, "limits_not_kept", strerror(errno));
    keep->has_failed = !is_done;
    buf_free(&text);
}

struct keep *keep_new(const char *path, struct limits *limits)
{
    struct keep *keep = mem_new(sizeof *keep);

    keep->path = mem_dup(slice_of(path));
    keep->limits = limits;
    load(keep);
    keep->saved = lanes_changes(limits_lanes(limits));
    return keep;
}

int64_t keep_turn(struct keep *keep, int64_t now_us)
{
    if (now_us < keep->next_us)
        return keep->next_us;
    if (keep->saved != lanes_changes(limits_lanes(keep->limits)))
        save(keep);
    int64_t took_us = loop_now_us() - now_us;
    keep->next_us = now_us + (took_us > SAVE_US / 100 ? took_us * 100 : SAVE_US);
    return keep->next_us;
}

void keep_free(struct keep *keep)
{
    if (!keep)
        return;
    if (keep->saved != lanes_changes(limits_lanes(keep->limits)))
        save(keep);
    mem_free(keep->path);
    mem_free(keep);
}
