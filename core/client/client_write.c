/* client_write.c -- replies, written past evhttp and straight to the socket where it takes them.
 *
 * Over plain TCP the pieces of a reply go out with one system call, over TLS as one record.  What
 * the socket does not take waits in the bufferevent. */
/* SPDX-License-Identifier: MIT */
#include "client_own.h"
#include "leaves/loop.h"
#include "leaves/tls.h"
#include "parsers/head.h"
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* ---- writing ---- */

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {402, "Payment Required"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].status == status)
            return reasons[i].reason;
    return "Answer";
}

static void expect_writing(struct client *client)
{
    struct evbuffer *output = bufferevent_get_output(client->bev);

    if (evbuffer_get_length(output) && !(bufferevent_get_enabled(client->bev) & EV_WRITE)) {
        client->progress_us = loop_now_us();
        bufferevent_enable(client->bev, EV_WRITE);
    }
}

/* The same over TLS: all pieces are one record, where they fit. */
static void send_secure(struct client *client, const struct iovec *pieces, int count)
{
    struct evbuffer *output = bufferevent_get_output(client->bev);
    struct buf *record = &client->server->record;

    buf_clear(record);
    for (int i = 0; i < count; i++)
        buf_add(record, (struct slice){pieces[i].iov_base, pieces[i].iov_len});
    if (evbuffer_get_length(output) == 0 && tls_write(client->bev, buf_slice(record)))
        return;
    evbuffer_add(output, record->ptr, record->len);
    client->queued += record->len;
    client->waits_for_written = true;
    expect_writing(client);
}

/* Sends pieces past the bufferevent when nothing waits in it; what the socket
 * does not take is left to it.  A failed write is not handled here: the same
 * connection's read side reports the end. */
static void send_pieces(struct client *client, struct iovec *pieces, int count)
{
    struct evbuffer *output = bufferevent_get_output(client->bev);
    size_t taken = 0;

    if (client->is_secure) {
        send_secure(client, pieces, count);
        return;
    }
    if (evbuffer_get_length(output) == 0) {
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)count};
        ssize_t sent = sendmsg(client->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0)
            taken = (size_t)sent;
    }
    for (int i = 0; i < count; i++) {
        size_t len = pieces[i].iov_len;
        size_t skip = taken < len ? taken : len;
        taken -= skip;
        if (skip == len)
            continue;
        evbuffer_add(output, (char *)pieces[i].iov_base + skip, len - skip);
        client->queued += len - skip;
    }
    expect_writing(client);
}

static struct iovec piece(struct slice bytes)
{
    return (struct iovec){(void *)bytes.ptr, bytes.len};
}

static bool is_http_1_0(const struct client *client)
{
    return client->req->major == 1 && client->req->minor == 0;
}

static void close_after(struct client *client, struct buf *head)
{
    evhttp_add_header(evhttp_request_get_output_headers(client->req), "Connection", "close");
    buf_add_text(head, "connection: close\r\n");
}

/* An HTTP/1.0 client that asked to keep the connection takes silence for a no, and would wait
 * for its end (RFC 9112, C.2.2). */
static void keep_open(const struct client *client, struct buf *head)
{
    if (is_http_1_0(client))
        buf_add_text(head, "connection: keep-alive\r\n");
}

static bool wants_close(const struct client *client)
{
    const char *said = client_header(client, "connection").ptr;

    if (client->server->draining)
        return true;
    if (is_http_1_0(client))
        return !said || strcasecmp(said, "keep-alive") != 0;
    return said && strcasecmp(said, "close") == 0;
}

void client_add_status(struct buf *head, int status)
{
    if (status == 200) { /* nearly always */
        buf_add(head, SLICE("HTTP/1.1 200 OK\r\n"));
        return;
    }
    buf_add_format(head, "HTTP/1.1 %d %s\r\n", status, reason_of(status));
}

/* A number in the given base at the end of room; gives where it begins. */
/* ---- whole replies ---- */

static void finish_reply(struct client *client)
{
    client->state = ENDING;
    client->owner = NULL;
    client->req->chunked = 0; /* the framing is ours */
    if (client->waits_for_written && client_stream_queued(client) == 0)
        client->ends_when_written = true; /* on_written is on its way, and must find this request */
    else
        evhttp_send_reply_end(client->req); /* calls on_complete, at once when all is out */
}

void client_reply(struct client *client, int status, struct slice headers, struct slice body)
{
    struct buf head = {0};
    char room[24];

    client_add_status(&head, status);
    buf_add(&head, headers);
    head_add(&head, "content-length", slice_number(room, body.len, 10));
    if (wants_close(client))
        close_after(client, &head);
    else
        keep_open(client, &head);
    buf_add_text(&head, "\r\n");
    struct iovec pieces[] = {piece(buf_slice(&head)), piece(body)};
    send_pieces(client, pieces, 2);
    buf_free(&head);
    finish_reply(client);
}

/* ---- streams ---- */

void client_stream_start(struct client *client, int status, struct slice headers)
{
    struct buf *head = &client->head;

    client->state = STREAMING;
    client->chunked = !is_http_1_0(client);
    client_add_status(head, status);
    buf_add(head, headers);
    if (client->chunked)
        buf_add_text(head, "transfer-encoding: chunked\r\n");
    if (!client->chunked || wants_close(client))
        close_after(client, head); /* without chunks the close is the end */
    buf_add_text(head, "\r\n");
}

void client_stream_send(struct client *client, struct slice bytes)
{
    char room[24];
    struct iovec pieces[5];
    int count = 0;

    if (client->head.len)
        pieces[count++] = piece(buf_slice(&client->head));
    if (client->chunked) {
        pieces[count++] = piece(slice_number(room, bytes.len, 16));
        pieces[count++] = piece(SLICE("\r\n"));
    }
    pieces[count++] = piece(bytes);
    if (client->chunked)
        pieces[count++] = piece(SLICE("\r\n"));
    if (bytes.len)
        send_pieces(client, pieces, count);
    else if (client->head.len)
        send_pieces(client, pieces, 1);
    buf_free(&client->head);
}

size_t client_stream_queued(const struct client *client)
{
    return evbuffer_get_length(bufferevent_get_output(client->bev));
}

void client_stream_end(struct client *client)
{
    if (client->head.len)
        client_stream_send(client, (struct slice){NULL, 0});
    if (client->chunked) {
        struct iovec last = piece(SLICE("0\r\n\r\n"));
        send_pieces(client, &last, 1);
    }
    finish_reply(client);
}

void client_stream_abort(struct client *client)
{
    client->state = ABORTING;
    client->owner = NULL;
    client->deadline_us = client_linger_until();
    if (client_stream_queued(client) == 0)
        shutdown(client->fd, SHUT_RDWR); /* evhttp sees the end and closes, on a later turn */
}

void client_drop(struct client *client)
{
    client->owner = NULL;
    client->state = ABORTING;
    client->deadline_us = 0;
    shutdown(client->fd, SHUT_RDWR);
}
