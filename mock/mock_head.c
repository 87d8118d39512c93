/* mock_head.c -- status lines, headers, and what is wrong with them. */
/* SPDX-License-Identifier: MIT */
#include "mock_head.h"

static const struct {
    int status;
    const char *line;
} lines[] = {
    {200, "HTTP/1.1 200 OK\r\n"},
    {101, "HTTP/1.1 101 Switching Protocols\r\nupgrade: mock\r\nconnection: upgrade\r\n"},
    {204, "HTTP/1.1 204 No Content\r\n"},
    {205, "HTTP/1.1 205 Reset Content\r\n"},
    {307, "HTTP/1.1 307 Temporary Redirect\r\nlocation: /redirected/v1/chat/completions\r\n"},
    {400, "HTTP/1.1 400 Bad Request\r\n"},
    {401, "HTTP/1.1 401 Unauthorized\r\n"},
    {402, "HTTP/1.1 402 Payment Required\r\n"},
    {403, "HTTP/1.1 403 Forbidden\r\n"},
    {404, "HTTP/1.1 404 Not Found\r\n"},
    {429, "HTTP/1.1 429 Too Many Requests\r\n"},
    {500, "HTTP/1.1 500 Internal Server Error\r\n"},
    {502, "HTTP/1.1 502 Bad Gateway\r\n"},
    {503, "HTTP/1.1 503 Service Unavailable\r\n"},
    {504, "HTTP/1.1 504 Gateway Timeout\r\n"},
};

static void add_status_line(const struct mock_head *head, struct buf *out)
{
    if (head->fault->quirks & MOCK_JUNK_STATUS) {
        buf_add_text(out, "SMTP/9.9 banana\r\n");
        return;
    }
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        if (lines[i].status == head->status) {
            buf_add_text(out, lines[i].line);
            return;
        }
    }
    buf_add_format(out, "HTTP/1.1 %d Mock\r\n", head->status);
}

/* Without printf, which would be a tenth of a plain answer. */
static void add_length(size_t len, struct buf *out)
{
    char digits[20];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + len % 10);
    while (len /= 10);
    buf_add(out, SLICE("content-length: "));
    buf_add(out, (struct slice){digits + at, sizeof digits - at});
    buf_add(out, SLICE("\r\n"));
}

static void add_framing(const struct mock_head *head, struct buf *out)
{
    size_t len = head->length;

    if (head->status < 200 || head->status == 204)
        return;
    if (head->framing == MOCK_BY_CHUNKS)
        buf_add_text(out, "transfer-encoding: chunked\r\n");
    if (head->framing == MOCK_BY_LENGTH)
        add_length(len, out);
    if (head->fault->quirks & MOCK_TWO_LENGTHS)
        buf_add_format(out, "content-length: %zu\r\n", len + 7);
    if (head->framing == MOCK_BY_CLOSE || !head->keep_alive)
        buf_add_text(out, "connection: close\r\n");
}

static void add_huge(size_t bytes, struct buf *out)
{
    buf_add_text(out, "x-mock-huge: ");
    memset(buf_reserve(out, bytes), 'h', bytes);
    out->len += bytes;
    buf_add_text(out, "\r\n");
}

static void add_quirks(const struct mock_head *head, struct buf *out)
{
    if (head->fault->quirks & MOCK_GZIP)
        buf_add_text(out, "content-encoding: gzip\r\n");
    if (head->fault->quirks & MOCK_HUGE_HEADER)
        add_huge((size_t)head->fault->size, out);
    for (int i = 0; i < MOCK_MAX_HEADERS && head->options->headers[i]; i++)
        buf_add_format(out, "%s\r\n", head->options->headers[i]);
}

void mock_head_add(const struct mock_head *head, struct buf *out)
{
    if (head->fault->quirks & MOCK_FLOOD_1XX)
        for (int i = 0; i < head->fault->size; i++)
            buf_add_text(out, "HTTP/1.1 100 Continue\r\n\r\n");
    add_status_line(head, out);
    if (head->type) {
        buf_add_text(out, "content-type: ");
        buf_add_text(out, head->type);
        buf_add_text(out, "\r\n");
    }
    if (head->retry_after)
        buf_add_format(out, "retry-after: %s\r\n", head->retry_after);
    if (head->quota)
        mock_limit_add(out, head->options->ratelimit, head->quota, head->status == 429);
    add_quirks(head, out);
    add_framing(head, out);
    buf_add_text(out, "\r\n");
}
