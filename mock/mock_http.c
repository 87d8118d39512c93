/* mock_http.c -- request line, headers, Content-Length and chunked bodies. */
/* SPDX-License-Identifier: MIT */
#include "mock_http.h"
#include <strings.h>

struct body_kind {
    size_t length;
    bool chunked;
};

/* One line from the front of text, without its line end; false if none ends. */
static bool take_line(struct slice *text, struct slice *line)
{
    const char *end = text->len ? memchr(text->ptr, '\n', text->len) : NULL;

    if (!end)
        return false;
    size_t len = (size_t)(end - text->ptr);
    *line = (struct slice){text->ptr, len && end[-1] == '\r' ? len - 1 : len};
    *text = (struct slice){end + 1, text->len - len - 1};
    return true;
}

bool mock_name_is(struct slice name, const char *lower)
{
    return name.len == strlen(lower) && strncasecmp(name.ptr, lower, name.len) == 0;
}

bool mock_http_next(struct slice *head, struct slice *name, struct slice *value)
{
    struct slice line;

    while (take_line(head, &line) && line.len) {
        const char *colon = memchr(line.ptr, ':', line.len);
        if (!colon) /* the request line, or junk */
            continue;
        size_t len = (size_t)(colon - line.ptr);
        if (memchr(line.ptr, ' ', len)) /* a request line with a colon in it */
            continue;
        *name = (struct slice){line.ptr, len};
        *value = slice_trim((struct slice){colon + 1, line.len - len - 1});
        return true;
    }
    return false;
}

static bool read_size(struct slice text, int base, size_t *size)
{
    *size = 0;
    for (size_t i = 0; i < text.len; i++) {
        int digit = hex_digit(text.ptr[i]);
        if (digit < 0 || digit >= base || *size > (size_t)1 << 40)
            return false;
        *size = *size * (size_t)base + (size_t)digit;
    }
    return text.len > 0;
}

static bool read_request_line(struct slice line, struct mock_request *request)
{
    const char *space = memchr(line.ptr, ' ', line.len);
    const char *last = memrchr(line.ptr, ' ', line.len);

    if (!space || last == space || space == line.ptr)
        return false;
    struct slice target = {space + 1, (size_t)(last - space) - 1};
    struct slice version = {last + 1, line.len - (size_t)(last + 1 - line.ptr)};
    const char *mark = memchr(target.ptr, '?', target.len);
    request->method = (struct slice){line.ptr, (size_t)(space - line.ptr)};
    request->path = mark ? (struct slice){target.ptr, (size_t)(mark - target.ptr)} : target;
    request->query = mark ? (struct slice){mark + 1, (size_t)(target.ptr + target.len - mark) - 1}
                          : (struct slice){0};
    request->http10 = slice_is(version, "HTTP/1.0");
    request->keep_alive = !request->http10;
    return request->http10 || slice_is(version, "HTTP/1.1");
}

static bool read_headers(struct slice head, struct mock_request *request, struct body_kind *kind)
{
    struct slice name, value;

    while (mock_http_next(&head, &name, &value)) {
        if (mock_name_is(name, "content-length")) {
            if (!read_size(value, 10, &kind->length))
                return false;
        } else if (mock_name_is(name, "transfer-encoding")) {
            kind->chunked = mock_name_is(value, "chunked");
        } else if (mock_name_is(name, "connection")) {
            request->keep_alive = mock_name_is(value, "keep-alive") ||
                                  (request->keep_alive && !mock_name_is(value, "close"));
        } else if (mock_name_is(name, "expect")) {
            request->expects = mock_name_is(value, "100-continue");
        }
    }
    return true;
}

/* One chunk from the front of rest; *size is 0 for the last. */
static enum mock_read take_chunk(struct slice *rest, size_t *size, struct buf *out)
{
    struct slice line;

    if (!take_line(rest, &line))
        return MOCK_READ_MORE;
    const char *extension = memchr(line.ptr, ';', line.len);
    if (extension)
        line.len = (size_t)(extension - line.ptr);
    if (!read_size(slice_trim(line), 16, size))
        return MOCK_READ_BAD;
    if (*size == 0)
        return MOCK_READ_WHOLE;
    if (rest->len < *size + 2)
        return MOCK_READ_MORE;
    if (out)
        buf_add(out, (struct slice){rest->ptr, *size});
    *rest = (struct slice){rest->ptr + *size + 2, rest->len - *size - 2};
    return MOCK_READ_WHOLE;
}

/* Walks the chunks and trailers; with out, copies the data. */
static enum mock_read walk_chunks(struct slice bytes, size_t *used, struct buf *out)
{
    struct slice rest = bytes, line;
    size_t size;

    do {
        enum mock_read read = take_chunk(&rest, &size, out);
        if (read != MOCK_READ_WHOLE)
            return read;
    } while (size);
    while (take_line(&rest, &line)) {
        if (line.len == 0) {
            *used = bytes.len - rest.len;
            return MOCK_READ_WHOLE;
        }
    }
    return MOCK_READ_MORE;
}

static enum mock_read read_chunked(struct slice bytes, struct mock_request *request,
                                   struct buf *decoded)
{
    size_t used = 0;
    enum mock_read read = walk_chunks(bytes, &used, NULL);

    if (read != MOCK_READ_WHOLE)
        return read;
    buf_clear(decoded);
    read = walk_chunks(bytes, &used, decoded);
    request->body = buf_slice(decoded);
    request->used = request->head.len + used;
    return read;
}

/* Up to and with the first empty line; empty if there is none. */
static struct slice find_head(struct slice bytes)
{
    struct slice rest = bytes, line;

    while (take_line(&rest, &line))
        if (!line.len)
            return (struct slice){bytes.ptr, bytes.len - rest.len};
    return (struct slice){0};
}

enum mock_read mock_http_read(struct slice bytes, struct mock_request *request, struct buf *decoded,
                              size_t *room)
{
    struct body_kind kind = {0};
    struct slice rest = bytes, line;

    *request = (struct mock_request){0};
    *room = 0;
    request->head = find_head(bytes);
    if (!request->head.len)
        return bytes.len > MOCK_MAX_HEAD ? MOCK_READ_BAD : MOCK_READ_MORE;
    if (!take_line(&rest, &line) || !read_request_line(line, request) ||
        !read_headers((struct slice){rest.ptr, request->head.len - (size_t)(rest.ptr - bytes.ptr)},
                      request, &kind))
        return MOCK_READ_BAD;

    struct slice body = {bytes.ptr + request->head.len, bytes.len - request->head.len};
    if (kind.chunked)
        return read_chunked(body, request, decoded);
    if (body.len < kind.length) {
        *room = kind.length - body.len;
        return MOCK_READ_MORE;
    }
    request->body = (struct slice){body.ptr, kind.length};
    request->used = request->head.len + kind.length;
    return MOCK_READ_WHOLE;
}
