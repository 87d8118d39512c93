/* http1.c -- reads one HTTP/1.1 response: status line, header lines, framed body. */
/* SPDX-License-Identifier: MIT */
#include "http1.h"
#include <strings.h>

static const char unsound[] = "the answer is not sound HTTP";
static const char too_long[] = "a header of the answer is too long";

/* ---- lines ---- */

/* The next whole line, without its end; good until the next call.  False: it is not whole yet,
 * and what there is of it is kept. */
static bool next_line(struct http1 *http1, struct slice *bytes, struct slice *line)
{
    const char *end = memchr(bytes->ptr, '\n', bytes->len);
    size_t len = end ? (size_t)(end - bytes->ptr) + 1 : bytes->len;

    if (http1->line_used)
        buf_clear(&http1->line);
    http1->line_used = false;
    http1->counted += len;
    *line = (struct slice){bytes->ptr, len};
    if (http1->counted <= HTTP1_HEAD_MAX && (!end || http1->line.len)) {
        buf_add(&http1->line, *line);
        *line = buf_slice(&http1->line);
        http1->line_used = end != NULL;
    }
    bytes->ptr += len;
    bytes->len -= len;
    if (!end)
        return false;
    line->len--;
    if (line->len && line->ptr[line->len - 1] == '\r')
        line->len--;
    return true;
}

static bool is_word(struct slice text, const char *word)
{
    return text.len == strlen(word) && strncasecmp(text.ptr, word, text.len) == 0;
}

/* ---- the head ---- */

/* "HTTP/1.1 200 OK" (RFC 9112, 4); the reason may be missing. */
static bool read_status(struct http1 *http1, struct slice line)
{
    int status = 0;

    if (line.len < 12 || memcmp(line.ptr, "HTTP/1.", 7) != 0 || line.ptr[8] != ' ' ||
        (line.ptr[7] != '0' && line.ptr[7] != '1'))
        return false;
    for (int i = 9; i < 12; i++) {
        if (line.ptr[i] < '0' || line.ptr[i] > '9')
            return false;
        status = status * 10 + (line.ptr[i] - '0');
    }
    if (status < 100 || (line.len > 12 && line.ptr[12] != ' '))
        return false;
    http1->status = status;
    http1->is_old = line.ptr[7] == '0';
    http1->keeps = !http1->is_old;
    http1->has_length = http1->is_chunked = http1->closes = false;
    return true;
}

/* Two lengths that differ, or one that is no number, can be framed in two ways. */
static bool read_length(struct http1 *http1, struct slice value)
{
    uint64_t length = 0;

    if (value.len == 0 || value.len > 18)
        return false;
    for (size_t i = 0; i < value.len; i++) {
        if (value.ptr[i] < '0' || value.ptr[i] > '9')
            return false;
        length = length * 10 + (uint64_t)(value.ptr[i] - '0');
    }
    if (http1->has_length && length != http1->left)
        return false;
    http1->has_length = true;
    http1->left = length;
    return true;
}

static void read_connection(struct http1 *http1, struct slice value)
{
    while (value.len) {
        const char *comma = memchr(value.ptr, ',', value.len);
        size_t len = comma ? (size_t)(comma - value.ptr) : value.len;
        struct slice word = slice_trim((struct slice){value.ptr, len});
        if (is_word(word, "close"))
            http1->closes = true;
        else if (is_word(word, "keep-alive"))
            http1->keeps = true;
        len += comma != NULL;
        value.ptr += len;
        value.len -= len;
    }
}

/* The headers that frame the message.  Other codings than chunked were not asked for. */
static bool read_framing(struct http1 *http1, struct slice name, struct slice value)
{
    http1->frames_body = true;
    if (slice_is(name, "content-length"))
        return read_length(http1, value);
    if (slice_is(name, "transfer-encoding")) {
        bool is_chunked = is_word(value, "chunked");
        http1->is_chunked = http1->is_chunked || is_chunked;
        return is_chunked || is_word(value, "identity");
    }
    http1->frames_body = slice_is(name, "connection");
    if (http1->frames_body)
        read_connection(http1, value);
    return true;
}

/* A folded line (RFC 9112, 5.2) goes on with the value before it; one that was acted upon is
 * whole. */
static bool read_fold(struct http1 *http1, struct slice line)
{
    if (http1->head.len == 0 || http1->frames_body)
        return false;
    http1->head.ptr[http1->head.len - 1] = ' ';
    buf_add(&http1->head, slice_trim(line));
    buf_add_char(&http1->head, '\n');
    return true;
}

static bool read_header(struct http1 *http1, struct slice line)
{
    const char *colon = memchr(line.ptr, ':', line.len);

    if (memchr(line.ptr, '\0', line.len) || memchr(line.ptr, '\r', line.len))
        return false;
    if (line.ptr[0] == ' ' || line.ptr[0] == '\t')
        return read_fold(http1, line);
    if (!colon)
        return false;
    struct slice name = slice_trim((struct slice){line.ptr, (size_t)(colon - line.ptr)});
    struct slice value =
        slice_trim((struct slice){colon + 1, line.len - (size_t)(colon - line.ptr) - 1});
    if (name.len == 0)
        return false;
    char *to = buf_reserve(&http1->head, name.len + value.len + 3);
    for (size_t i = 0; i < name.len; i++)
        to[i] = (name.ptr[i] >= 'A' && name.ptr[i] <= 'Z') ? (char)(name.ptr[i] + 32) : name.ptr[i];
    memcpy(to + name.len, ": ", 2);
    memcpy(to + name.len + 2, value.ptr, value.len);
    to[name.len + 2 + value.len] = '\n';
    http1->head.len += name.len + value.len + 3;
    return read_framing(http1, (struct slice){to, name.len}, value);
}

/* The blank line came: how the body is framed (RFC 9112, 6.3). */
static bool end_head(struct http1 *http1)
{
    bool has_body = http1->status >= 200 && http1->status != 204 && http1->status != 304;

    http1->counted = 0;
    if (http1->status < 200 && http1->status != 101) { /* nobody asked to switch: 101 is final */
        buf_clear(&http1->head);
        http1->state = HTTP1_STATUS;
        return ++http1->informational <= HTTP1_INFORMATIONAL_MAX;
    }
    http1->head_done = true;
    bool is_suspect = http1->is_chunked && (http1->has_length || http1->is_old);
    if (http1->closes || http1->status == 101 || is_suspect)
        http1->keeps = false;
    if (!has_body || (http1->has_length && !http1->is_chunked && http1->left == 0))
        http1->state = HTTP1_DONE;
    else if (http1->is_chunked)
        http1->state = HTTP1_CHUNK_SIZE;
    else
        http1->state = http1->has_length ? HTTP1_LENGTH : HTTP1_UNTIL_CLOSE;
    if (http1->state == HTTP1_UNTIL_CLOSE)
        http1->keeps = false;
    return true;
}

/* ---- chunks (RFC 9112, 7.1) ---- */

/* Extensions after the size are ignored. */
static bool read_chunk_size(struct http1 *http1, struct slice line)
{
    uint64_t size = 0;
    size_t i = 0;

    for (; i < line.len && hex_digit(line.ptr[i]) >= 0; i++) {
        if (size >> 59)
            return false;
        size = size << 4 | (uint64_t)hex_digit(line.ptr[i]);
    }
    if (i == 0 || (i < line.len && !memchr("; \t", line.ptr[i], 3)))
        return false;
    http1->counted = 0;
    http1->left = size;
    http1->state = size ? HTTP1_CHUNK : HTTP1_TRAILER;
    return true;
}

static bool read_line(struct http1 *http1, struct slice line)
{
    switch (http1->state) {
    case HTTP1_STATUS: http1->state = HTTP1_HEADER; return read_status(http1, line);
    case HTTP1_HEADER: return line.len ? read_header(http1, line) : end_head(http1);
    case HTTP1_CHUNK_SIZE: return read_chunk_size(http1, line);
    case HTTP1_CHUNK_END:
        http1->counted = 0;
        http1->state = HTTP1_CHUNK_SIZE;
        return line.len == 0;
    case HTTP1_TRAILER: /* dropped: nothing may rewrite the head */
        if (line.len == 0)
            http1->state = HTTP1_DONE;
        return true;
    default: return false;
    }
}

/* ---- the whole ---- */

static void take_body(struct http1 *http1, struct slice *bytes, struct buf *body)
{
    size_t len = bytes->len;

    if (http1->state != HTTP1_UNTIL_CLOSE && len > http1->left)
        len = (size_t)http1->left;
    buf_add(body, (struct slice){bytes->ptr, len});
    bytes->ptr += len;
    bytes->len -= len;
    if (http1->state == HTTP1_UNTIL_CLOSE)
        return;
    http1->left -= len;
    if (http1->left == 0)
        http1->state = http1->state == HTTP1_CHUNK ? HTTP1_CHUNK_END : HTTP1_DONE;
}

enum err http1_feed(struct http1 *http1, struct slice bytes, struct buf *body, const char **detail)
{
    struct slice line;

    http1->any = http1->any || bytes.len;
    while (bytes.len) {
        switch (http1->state) {
        case HTTP1_LENGTH:
        case HTTP1_UNTIL_CLOSE:
        case HTTP1_CHUNK: take_body(http1, &bytes, body); continue;
        case HTTP1_DONE: http1->keeps = false; return ERR_OK; /* bytes that nobody asked for */
        default: break;
        }
        bool whole = next_line(http1, &bytes, &line);
        if (http1->counted > HTTP1_HEAD_MAX) {
            *detail = too_long;
            return ERR_BAD_RESPONSE;
        }
        if (whole && !read_line(http1, line)) {
            *detail = unsound;
            return ERR_BAD_RESPONSE;
        }
    }
    return ERR_OK;
}

enum err http1_finish(struct http1 *http1, const char **detail)
{
    if (http1->state == HTTP1_DONE)
        return ERR_OK;
    if (http1->state == HTTP1_UNTIL_CLOSE) {
        http1->state = HTTP1_DONE;
        return ERR_OK;
    }
    if (!http1->any) {
        *detail = "the connection was closed without an answer";
        return ERR_RESET;
    }
    *detail = http1->head_done ? "the answer was cut short" : "the answer ended inside its headers";
    return ERR_TRUNCATED;
}

bool http1_next_header(const struct http1 *http1, size_t *at, struct slice *name,
                       struct slice *value)
{
    if (*at >= http1->head.len)
        return false;
    const char *line = http1->head.ptr + *at;
    const char *end = memchr(line, '\n', http1->head.len - *at);
    const char *colon = memchr(line, ':', (size_t)(end - line));

    *at += (size_t)(end - line) + 1;
    *name = (struct slice){line, (size_t)(colon - line)};
    *value = (struct slice){colon + 2, (size_t)(end - colon) - 2};
    return true;
}

void http1_free(struct http1 *http1)
{
    buf_free(&http1->head);
    buf_free(&http1->line);
}
