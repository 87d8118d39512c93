/* client.c -- evhttp in front, with the strict gate before it and replies written past it.
 *
 *            bytes                 sound bytes            whole request
 *   socket ---------> on_input --------------> evhttp ------------------> on_request
 *                        | gate_read                                          |
 *                        +-> refuse (our own JSON)      client_reply <--------+
 *
 * on_input is a callback of the connection's input buffer, so it sees bytes
 * before evhttp does.  What the gate has not passed yet (the head that is still
 * coming) waits in client->held.
 *
 *           +------------------- on_complete ----------------------+
 *           v                                                      |
 *   accept -> READING -> HANDED -> STREAMING -> ENDING ------------+
 *                |          |          |           ^
 *                |          +----------|-----------+  client_reply
 *                |                     +-> ABORTING -> closed
 *                +-> REFUSED -> closed
 *
 * READING   -> HANDED    [on_evhttp_request]   evhttp has a whole request
 * HANDED    -> ENDING    [client_reply]        a whole answer is on its way
 * HANDED    -> STREAMING [client_stream_start]
 * STREAMING -> ENDING    [client_stream_end]
 * STREAMING -> ABORTING  [client_stream_abort] no final chunk: the client sees a cut
 * ENDING    -> READING   [on_complete]         kept alive: the next request
 * READING   -> REFUSED   [refuse]              the gate said no; the answer is lingering
 * (any)     -> freed     [on_close]            evhttp closes the connection */
/* SPDX-License-Identifier: MIT */
#include "client.h"
#include "head.h"
#include "json.h"
#include "log.h"
#include "loop.h"
#include "mem.h"
#include "tls.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/queue.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    READ_ONCE = 4096,          /* what libevent 2.1 reads a turn */
    READ_MORE = 64 * 1024,     /* what we read on top when that was not all */
    PIPELINED_MAX = 64 * 1024, /* bytes behind a request that is being served */
    TICK_MS = 250,
    ACCEPT_PAUSE_MS = 100, /* when descriptors ran out */
    OLD_SOCKET_MS = 100,   /* for what waits in its queue */
    ID_LEN = 24,
};

static const int64_t LINGER_US = 1000 * 1000; /* for a last word to be read */

enum client_state { READING, HANDED, STREAMING, ENDING, ABORTING, REFUSED };

enum client_wait { WAIT_HEAD, WAIT_BODY, WAIT_IDLE }; /* what READING waits for */

struct client {
    struct client_server *server;
    struct bufferevent *bev;
    struct evhttp_connection *evcon;
    struct evhttp_request *req; /* NULL while READING */
    const struct client_owner *owner;
    void *arg;
    struct gate gate;
    struct buf held;             /* bytes that the gate has not passed */
    struct gate_verdict refusal; /* to be said once the sound requests are answered */
    unsigned passed, answered;   /* requests that the gate let in; replies that are out */
    enum client_state state;
    enum client_wait wait;
    int64_t deadline_us; /* of wait, or of lingering */
    uint64_t queued;     /* bytes ever left to the bufferevent */
    uint64_t drained;    /* of these, when progress was last seen */
    int64_t progress_us;
    struct buf head; /* a stream's head, until its first bytes */
    int fd;
    bool chunked;
    bool is_secure;         /* speaks TLS */
    bool waits_for_written; /* TLS: something was queued, and libevent has yet to say it is out */
    bool ends_when_written; /* and then evhttp is to be told that the reply is */
    bool in_gate;           /* our own changes of the input call on_input too */
    bool refused_head_only; /* the refused request was a HEAD */
    char id[ID_LEN + 1];
    LIST_ENTRY(client) link;
    LIST_ENTRY(client) fresh;
};

struct client_server {
    struct event_base *base;
    struct evhttp *http;
    struct evhttp_bound_socket *socket;
    struct client_limits limits;
    struct tls *tls;               /* borrowed; NULL: plain */
    struct buf record;             /* what is written as one */
    ev_ssize_t max_head, max_body; /* evhttp's */
    client_on_request *on_request;
    void *arg;
    LIST_HEAD(, client) clients;
    LIST_HEAD(, client) fresh; /* made in this turn, not yet adopted */
    size_t count;
    struct event adopt;
    struct event tick;
    struct event accept_again;
    struct evhttp_bound_socket *old_socket; /* another address, until just now */
    struct event old_over;
    uint64_t seed;
    bool draining;
};

static struct client_server *accepting; /* one a process */
static struct client **by_fd;           /* evhttp's callbacks hand us its objects, not ours */
static size_t by_fd_count;

static void on_close(struct evhttp_connection *evcon, void *arg);
static void on_old_over(evutil_socket_t fd, short what, void *arg);
static void raise_maxima(struct client_server *server);
static void on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg);
static void on_complete(struct evhttp_request *req, void *arg);

/* ---- ids ---- */

/* xorshift64*, seeded from the kernel: unique, not secret. */
static uint64_t next_random(struct client_server *server)
{
    server->seed ^= server->seed >> 12;
    server->seed ^= server->seed << 25;
    server->seed ^= server->seed >> 27;
    return server->seed * 2685821657736338717u;
}

static void make_id(struct client *client)
{
    static const char hex[] = "0123456789abcdef";
    uint64_t bits = next_random(client->server), more = next_random(client->server);

    memcpy(client->id, "req_", 4);
    for (int i = 4; i < ID_LEN; i++) {
        uint64_t *from = i < 16 ? &bits : &more;
        client->id[i] = hex[*from & 15];
        *from >>= 4;
    }
    client->id[ID_LEN] = '\0';
}

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

/* evhttp_find_header compares every name in full: five lookups cost a twentieth of a request. */
static const char *find_header(struct evhttp_request *req, const char *name)
{
    struct evkeyval *header;

    TAILQ_FOREACH(header, evhttp_request_get_input_headers(req), next)
    if ((header->key[0] | 32) == name[0] && strcasecmp(header->key, name) == 0)
        return header->value;
    return NULL;
}

static bool wants_close(const struct client *client)
{
    const char *said = find_header(client->req, "connection");

    if (client->server->draining)
        return true;
    if (is_http_1_0(client))
        return !said || strcasecmp(said, "keep-alive") != 0;
    return said && strcasecmp(said, "close") == 0;
}

static void add_status(struct buf *head, int status)
{
    if (status == 200) { /* nearly always */
        buf_add(head, SLICE("HTTP/1.1 200 OK\r\n"));
        return;
    }
    buf_add_format(head, "HTTP/1.1 %d %s\r\n", status, reason_of(status));
}

/* A number in the given base at the end of room; gives where it begins. */
static struct slice number_text(char room[static 24], size_t number, unsigned base)
{
    char *at = room + 24;

    do {
        *--at = "0123456789abcdef"[number % base];
        number /= base;
    } while (number);
    return (struct slice){at, (size_t)(room + 24 - at)};
}

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

    add_status(&head, status);
    buf_add(&head, headers);
    head_add(&head, "content-length", number_text(room, body.len, 10));
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
    add_status(head, status);
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
        pieces[count++] = piece(number_text(room, bytes.len, 16));
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
    client->deadline_us = loop_now_us() + LINGER_US;
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

/* ---- refusals: before evhttp has anything to say ---- */

/* False when it cannot be sent at once, and the connection is not to be used any more. */
static bool send_last(struct client *client, struct slice bytes)
{
    if (!client->is_secure)
        return send(client->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
    if (client_stream_queued(client) || !tls_write(client->bev, bytes))
        return false;
    tls_end(client->bev);
    return true;
}

static void say_refusal(struct client *client)
{
    const struct gate_verdict *no = &client->refusal;
    struct buf reply = {0}, body = {0};

    make_id(client);
    buf_add_text(&body, "{\"error\":{\"message\":");
    json_quote(&body, slice_of(no->reason));
    buf_add_text(&body, ",\"type\":\"invalid_request_error\",\"param\":null,\"code\":");
    json_quote(&body, slice_of(no->code));
    buf_add_text(&body, "}}");
    add_status(&reply, no->status);
    buf_add_format(&reply, "content-type: application/json\r\nx-request-id: %s\r\n", client->id);
    if (no->status == 405)
        buf_add_text(&reply, "allow: GET, POST\r\n");
    buf_add_format(&reply, "content-length: %zu\r\nconnection: close\r\n\r\n", body.len);
    if (!client->refused_head_only)
        buf_add(&reply, buf_slice(&body));
    if (!send_last(client, buf_slice(&reply)))
        shutdown(client->fd, SHUT_RDWR);
    buf_free(&reply);
    buf_free(&body);

    /* The peer may still be sending: closing now would reset the connection and
     * take our answer with it.  What comes is thrown away for a while. */
    shutdown(client->fd, SHUT_WR);
    client->state = REFUSED;
    client->deadline_us = loop_now_us() + LINGER_US;

    struct log_line line = log_begin(LOG_INFO, "refused");
    log_str(&line, "id", client->id);
    log_int(&line, "status", no->status);
    log_str(&line, "reason", no->code);
    log_end(&line);
}

static void refuse(struct client *client, const struct gate_verdict *verdict)
{
    client->refusal = *verdict;
    client->refused_head_only = client->held.len >= 5 && memcmp(client->held.ptr, "HEAD ", 5) == 0;
    buf_free(&client->held);
    if (client->passed == client->answered && client->state == READING)
        say_refusal(client);
}

static void refuse_late(struct client *client)
{
    struct gate_verdict verdict = {
        .status = 408,
        .reason = client->wait == WAIT_BODY ? "the request's body did not arrive in time"
                                            : "the request's head did not arrive in time",
        .code = "request_timeout",
    };
    refuse(client, &verdict);
}

/* ---- bytes come in ---- */

/* libevent 2.1 reads at most 4096 bytes a turn; the rest is fetched here. */
static void read_greedily(struct client *client, struct evbuffer *input)
{
    struct evbuffer_iovec space;

    if (evbuffer_reserve_space(input, READ_MORE, &space, 1) != 1)
        return;
    ssize_t len = recv(client->fd, space.iov_base, space.iov_len, MSG_DONTWAIT);
    space.iov_len = len > 0 ? (size_t)len : 0;
    evbuffer_commit_space(input, &space, 1);
}

/* Takes everything that came after the first keep bytes out of input. */
static void hold_back(struct client *client, struct evbuffer *input, size_t keep)
{
    size_t len = evbuffer_get_length(input) - keep;
    struct evbuffer_ptr from;
    char *to = buf_reserve(&client->held, len);

    if (keep == 0) {
        evbuffer_remove(input, to, len);
    } else {
        struct evbuffer *sound = evbuffer_new();
        evbuffer_ptr_set(input, &from, keep, EVBUFFER_PTR_SET);
        evbuffer_copyout_from(input, &from, to, len);
        evbuffer_remove_buffer(input, sound, keep);
        evbuffer_drain(input, evbuffer_get_length(input));
        evbuffer_add_buffer(input, sound);
        evbuffer_free(sound);
    }
    client->held.len += len;
}

static void count_passed(struct client *client, const struct gate_verdict *verdict)
{
    client->passed += verdict->ends;
    if (client->state != READING)
        return;
    if (client->gate.phase == GATE_BODY && client->wait != WAIT_BODY) {
        client->wait = WAIT_BODY;
        client->deadline_us = loop_now_us() + client->server->limits.body_us;
    } else if (client->held.len && client->wait == WAIT_IDLE) {
        client->wait = WAIT_HEAD;
        client->deadline_us = loop_now_us() + client->server->limits.head_us;
    }
}

static void pass_held(struct client *client, struct evbuffer *input)
{
    struct gate_verdict verdict = gate_read(&client->gate, buf_slice(&client->held));

    if (verdict.passed) {
        evbuffer_add(input, client->held.ptr, verdict.passed);
        buf_drop(&client->held, verdict.passed);
    }
    if (client->held.len == 0)
        buf_free(&client->held);
    count_passed(client, &verdict);
    if (verdict.status)
        refuse(client, &verdict);
}

/* The usual case: what came is in one piece, and all of it is sound. */
static bool passes_whole(struct client *client, struct evbuffer *input, size_t fresh)
{
    struct evbuffer_ptr from;
    struct evbuffer_iovec at;
    size_t old = evbuffer_get_length(input) - fresh;
    struct gate before = client->gate;

    evbuffer_ptr_set(input, &from, old, EVBUFFER_PTR_SET);
    if (evbuffer_peek(input, -1, &from, &at, 1) != 1 || at.iov_len < fresh)
        return false;
    struct gate_verdict verdict = gate_read(&client->gate, (struct slice){at.iov_base, fresh});
    if (verdict.passed == fresh && !verdict.status) {
        count_passed(client, &verdict);
        return true;
    }
    client->gate = before;
    return false;
}

static void on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
    struct client *client = arg;
    size_t fresh = info->n_added;

    if (client->in_gate || fresh == 0)
        return;
    client->in_gate = true;
    if (client->state == REFUSED || client->state == ABORTING || client->refusal.status) {
        evbuffer_drain(input, evbuffer_get_length(input));
    } else {
        if (client->state == READING && fresh == READ_ONCE && !client->is_secure) {
            size_t before = evbuffer_get_length(input);
            read_greedily(client, input);
            fresh += evbuffer_get_length(input) - before;
        }
        if (client->held.len || !passes_whole(client, input, fresh)) {
            hold_back(client, input, evbuffer_get_length(input) - fresh);
            pass_held(client, input);
        }
        if (client->state != READING &&
            evbuffer_get_length(input) + client->held.len > PIPELINED_MAX)
            shutdown(client->fd, SHUT_RDWR); /* a flood behind a request that is being served */
    }
    client->in_gate = false;
}

/* ---- evhttp's events ---- */

static struct client *client_of(struct bufferevent *bev)
{
    size_t fd = (size_t)bufferevent_getfd(bev);
    return fd < by_fd_count ? by_fd[fd] : NULL;
}

static bufferevent_data_cb evhttp_on_write; /* evhttp's own, the same for all connections */

/* While a request is served evhttp would end the process if its read callback
 * ran.  Reading stays on so that the client's end is seen; bytes only gather. */
static void on_bytes_behind(struct bufferevent *bev, void *evcon)
{
}

/* Over TLS libevent calls it on a later turn, when more may have been queued: then once more. */
static void on_written(struct bufferevent *bev, void *evcon)
{
    struct client *client = client_of(bev);

    if (client && client_stream_queued(client))
        return;
    if (client)
        client->waits_for_written = false;
    if (client && client->ends_when_written) {
        client->ends_when_written = false;
        evhttp_send_reply_end(client->req);
    } else if (client && client->state == ABORTING)
        shutdown(client->fd, SHUT_RDWR);
    else if (client && client->state == STREAMING && client->owner)
        client->owner->on_drained(client->arg);
    else
        evhttp_on_write(bev, evcon);
}

static void on_evhttp_request(struct evhttp_request *req, void *arg)
{
    struct client_server *server = arg;
    struct evhttp_connection *evcon = evhttp_request_get_connection(req);
    struct bufferevent *bev = evhttp_connection_get_bufferevent(evcon);
    struct client *client = client_of(bev);
    bufferevent_data_cb on_read, on_write;
    bufferevent_event_cb on_event;
    void *cb_arg;

    bufferevent_getcb(bev, &on_read, &on_write, &on_event, &cb_arg);
    evhttp_on_write = on_write;
    bufferevent_setcb(bev, on_bytes_behind, on_written, on_event, cb_arg);
    bufferevent_enable(bev, EV_READ);
    evhttp_request_set_on_complete_cb(req, on_complete, client);
    client->req = req;
    client->state = HANDED;
    make_id(client);
    server->on_request(server->arg, client);
}

/* The reply is out; evhttp frees the request after this. */
static void on_complete(struct evhttp_request *req, void *arg)
{
    struct client *client = arg;
    const struct client_limits *limits = &client->server->limits;

    client->req = NULL;
    client->answered++;
    client->state = READING;
    client->wait = client->held.len ? WAIT_HEAD : WAIT_IDLE;
    client->deadline_us = loop_now_us() + (client->held.len ? limits->head_us : limits->idle_us);
    if (client->passed > client->answered || client->gate.phase == GATE_BODY) {
        client->wait = WAIT_BODY;
        client->deadline_us = loop_now_us() + client->server->limits.body_us;
    }
    if (client->refusal.status && client->passed == client->answered)
        say_refusal(client);
}

/* ---- connections come and go ---- */

static struct bufferevent *on_connection(struct event_base *base, void *arg)
{
    struct client_server *server = arg;
    struct client *client = mem_new(sizeof *client);

    client->is_secure = server->tls != NULL;
    client->bev = client->is_secure ? tls_accept(server->tls, base)
                                    : bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    if (!client->bev)
        abort();
    client->server = server;
    client->fd = -1;
    client->gate.limits = &server->limits.gate;
    client->deadline_us = loop_now_us() + client->server->limits.head_us;
    bufferevent_set_max_single_write(client->bev, 1024 * 1024);
    evbuffer_add_cb(bufferevent_get_input(client->bev), on_input, client);
    LIST_INSERT_HEAD(&server->clients, client, link);
    LIST_INSERT_HEAD(&server->fresh, client, fresh);
    server->count++;
    event_active(&server->adopt, EV_TIMEOUT, 0); /* when evhttp has made its own object */
    return client->bev;
}

/* ---- TLS ---- */

static bufferevent_event_cb evhttp_on_event; /* evhttp's own, the same for all connections */

/* Who speaks plain HTTP to a port with TLS learns what is wrong.  What it sent is read first: a
 * close over unread bytes would reset the connection, and take the answer with it. */
static void answer_plain(int fd)
{
    static const char answer[] =
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
        "{\"error\":{\"message\":\"this port speaks TLS: use https://\","
        "\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"tls_required\"}}";
    char room[4096];

    for (int i = 0; i < 16 && recv(fd, room, sizeof room, MSG_DONTWAIT) > 0; i++)
        ;
    if (send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
        shutdown(fd, SHUT_WR);
}

/* Of the handshake; evhttp closes. */
static void on_tls_event(struct bufferevent *bev, short what, void *evcon)
{
    struct client *client = client_of(bev);
    bool is_plain = false;

    if (client && client->state == READING && (what & BEV_EVENT_ERROR)) {
        const char *why = tls_fault(bev, &is_plain);
        if (is_plain)
            answer_plain(client->fd);
        struct log_line line = log_begin(LOG_INFO, "tls_refused");
        log_str(&line, "reason", why);
        log_end(&line);
    }
    evhttp_on_event(bev, what, evcon);
}

static void adopt(struct client *client)
{
    bufferevent_data_cb on_read, on_write;
    bufferevent_event_cb on_event;
    void *evcon;
    int on = 1;

    bufferevent_getcb(client->bev, &on_read, &on_write, &on_event, &evcon);
    client->evcon = evcon;
    client->fd = bufferevent_getfd(client->bev);
    if (client->is_secure) {
        evhttp_on_event = on_event;
        bufferevent_setcb(client->bev, on_read, on_write, on_tls_event, evcon);
    }
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    evhttp_connection_set_closecb(client->evcon, on_close, client);
    if ((size_t)client->fd >= by_fd_count) {
        size_t count = (size_t)client->fd * 2 + 64;
        by_fd = mem_resize(by_fd, count * sizeof *by_fd);
        memset(by_fd + by_fd_count, 0, (count - by_fd_count) * sizeof *by_fd);
        by_fd_count = count;
    }
    by_fd[client->fd] = client;
}

static void on_adopt(evutil_socket_t fd, short what, void *arg)
{
    struct client_server *server = arg;
    struct client *client;

    while ((client = LIST_FIRST(&server->fresh))) {
        LIST_REMOVE(client, fresh);
        adopt(client);
    }
    if (server->socket && server->count >= server->limits.connections)
        evconnlistener_disable(evhttp_bound_socket_get_listener(server->socket));
}

static void on_close(struct evhttp_connection *evcon, void *arg)
{
    struct client *client = arg;
    struct client_server *server = client->server;
    const struct client_owner *owner = client->owner;
    struct evhttp_request *req = client->req;

    if (req && !evhttp_request_get_connection(req))
        evhttp_send_reply_end(req); /* evhttp left it to us: this frees it */
    by_fd[client->fd] = NULL;
    LIST_REMOVE(client, link);
    if (server->socket && server->count-- == server->limits.connections)
        evconnlistener_enable(evhttp_bound_socket_get_listener(server->socket));
    else if (!server->socket)
        server->count--;
    buf_free(&client->held);
    buf_free(&client->head);
    if (client->is_secure && client->state == READING)
        tls_end(client->bev); /* in order: nothing was cut */
    void *owner_arg = client->arg;
    evbuffer_remove_cb(bufferevent_get_input(client->bev), on_input, client);
    mem_free(client);
    if (owner)
        owner->on_gone(owner_arg);
}

/* ---- deadlines ---- */

static bool is_stuck(struct client *client, int64_t now_us)
{
    size_t waiting = evbuffer_get_length(bufferevent_get_output(client->bev));
    uint64_t drained = client->queued - waiting;

    if (waiting == 0 || drained != client->drained) {
        client->drained = drained;
        client->progress_us = now_us;
        return false;
    }
    return now_us - client->progress_us > client->server->limits.stuck_us;
}

/* True when the connection is to be closed now. */
static bool is_overdue(struct client *client, int64_t now_us)
{
    if (client->fd < 0)
        return false;
    switch (client->state) {
    case READING:
        if (client->wait == WAIT_IDLE && client->server->draining)
            return true;
        if (now_us < client->deadline_us)
            return false;
        if (client->wait == WAIT_IDLE || (client->wait == WAIT_HEAD && client->held.len == 0))
            return true;
        if (client->passed == client->answered || client->wait == WAIT_BODY) {
            client->passed = client->answered; /* the late one will not be answered */
            refuse_late(client);
        }
        return false;
    case HANDED:
    case STREAMING:
    case ENDING: return is_stuck(client, now_us);
    case ABORTING:
    case REFUSED: return now_us >= client->deadline_us;
    }
    return false;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct client_server *server = arg;
    struct client *client, *next;
    int64_t now_us = loop_now_us();

    for (client = LIST_FIRST(&server->clients); client; client = next) {
        next = LIST_NEXT(client, link);
        if (is_overdue(client, now_us))
            evhttp_connection_free(client->evcon); /* calls on_close */
    }
}

/* ---- the server ---- */

static void on_accept_again(evutil_socket_t fd, short what, void *arg)
{
    struct client_server *server = arg;
    if (server->socket)
        evconnlistener_enable(evhttp_bound_socket_get_listener(server->socket));
}

/* Descriptors ran out: the loop would spin on a socket that stays readable. */
static void on_accept_error(struct evconnlistener *listener, void *evhttp)
{
    struct client_server *server = accepting; /* the argument is evhttp's own */
    struct timeval pause = {0, ACCEPT_PAUSE_MS * 1000};
    static int64_t said_us;
    int64_t now_us = loop_now_us();

    evconnlistener_disable(listener);
    event_add(&server->accept_again, &pause);
    if (now_us - said_us < 1000000)
        return;
    said_us = now_us;
    struct log_line line = log_begin(LOG_WARN, "accept_failed");
    log_str(&line, "error", strerror(errno));
    log_end(&line);
}

struct client_server *client_server_new(struct event_base *base, const struct client_limits *limits,
                                        client_on_request *on_request, void *arg)
{
    struct client_server *server = mem_new(sizeof *server);
    struct timeval tick = {0, TICK_MS * 1000};

    server->base = base;
    server->limits = *limits;
    server->on_request = on_request;
    server->arg = arg;
    LIST_INIT(&server->clients);
    LIST_INIT(&server->fresh);
    if (getrandom(&server->seed, sizeof server->seed, 0) != sizeof server->seed || !server->seed)
        server->seed = (uint64_t)loop_now_us() | 1;
    server->http = evhttp_new(base);
    if (!server->http)
        abort();
    evhttp_set_allowed_methods(server->http, EVHTTP_REQ_GET | EVHTTP_REQ_POST);
    raise_maxima(server);
    evhttp_set_bevcb(server->http, on_connection, server);
    evhttp_set_gencb(server->http, on_evhttp_request, server);
    event_assign(&server->adopt, base, -1, 0, on_adopt, server);
    event_assign(&server->accept_again, base, -1, 0, on_accept_again, server);
    event_assign(&server->old_over, base, -1, 0, on_old_over, server);
    event_assign(&server->tick, base, -1, EV_PERSIST, on_tick, server);
    event_add(&server->tick, &tick);
    return server;
}

static void on_old_over(evutil_socket_t fd, short what, void *arg)
{
    struct client_server *server = arg;

    if (server->old_socket)
        evhttp_del_accept_socket(server->http, server->old_socket);
    server->old_socket = NULL;
}

/* Who connected to the old address a moment ago is still let in. */
static void replace_socket(struct client_server *server)
{
    struct timeval wait = {0, OLD_SOCKET_MS * 1000};

    on_old_over(-1, 0, server);
    server->old_socket = server->socket;
    event_add(&server->old_over, &wait);
}

void client_server_listen(struct client_server *server, int fd)
{
    if (server->socket)
        replace_socket(server);
    server->socket = evhttp_accept_socket_with_handle(server->http, fd);
    if (!server->socket)
        abort();
    accepting = server;
    evconnlistener_set_error_cb(evhttp_bound_socket_get_listener(server->socket), on_accept_error);
}

/* evhttp stands behind the gate, which says no first: its own maxima only grow, so that it never
 * refuses what the gate let in before. */
static void raise_maxima(struct client_server *server)
{
    const struct gate_limits *gate = &server->limits.gate;
    struct client *client;

    if (server->max_head < (ev_ssize_t)(gate->head + 1024))
        server->max_head = (ev_ssize_t)(gate->head + 1024);
    if (server->max_body < (ev_ssize_t)(gate->body + 1024))
        server->max_body = (ev_ssize_t)(gate->body + 1024);
    evhttp_set_max_headers_size(server->http, server->max_head);
    evhttp_set_max_body_size(server->http, server->max_body);
    LIST_FOREACH(client, &server->clients, link)
    {
        if (!client->evcon)
            continue;
        evhttp_connection_set_max_headers_size(client->evcon, server->max_head);
        evhttp_connection_set_max_body_size(client->evcon, server->max_body);
    }
}

void client_server_limit(struct client_server *server, const struct client_limits *limits)
{
    server->limits = *limits;
    raise_maxima(server);
    if (!server->socket)
        return;
    struct evconnlistener *listener = evhttp_bound_socket_get_listener(server->socket);
    if (server->count < limits->connections)
        evconnlistener_enable(listener);
    else
        evconnlistener_disable(listener);
}

void client_server_secure(struct client_server *server, struct tls *tls)
{
    server->tls = tls;
}

void client_server_drain(struct client_server *server)
{
    on_old_over(-1, 0, server);
    if (server->socket)
        evhttp_del_accept_socket(server->http, server->socket);
    server->socket = NULL;
    server->draining = true;
    on_tick(-1, 0, server);
}

void client_server_free(struct client_server *server)
{
    struct client *client;

    on_adopt(-1, 0, server);
    while ((client = LIST_FIRST(&server->clients)))
        evhttp_connection_free(client->evcon);
    event_del(&server->adopt);
    event_del(&server->accept_again);
    event_del(&server->old_over);
    event_del(&server->tick);
    evhttp_free(server->http);
    buf_free(&server->record);
    mem_free(server);
    mem_free(by_fd);
    by_fd = NULL;
    by_fd_count = 0;
}

size_t client_server_count(const struct client_server *server)
{
    return server->count;
}

/* ---- the request ---- */

const char *client_id(const struct client *client)
{
    return client->id;
}

enum client_method client_method(const struct client *client)
{
    return evhttp_request_get_command(client->req) == EVHTTP_REQ_POST ? CLIENT_POST : CLIENT_GET;
}

struct slice client_path(const struct client *client)
{
    const char *uri = evhttp_request_get_uri(client->req);
    return (struct slice){uri, strcspn(uri, "?")};
}

struct slice client_header(const struct client *client, const char *name)
{
    const char *value = find_header(client->req, name);
    return value ? slice_of(value) : (struct slice){NULL, 0};
}

void client_each_header(const struct client *client,
                        void (*visit)(void *arg, const char *name, const char *value), void *arg)
{
    struct evkeyval *header;

    TAILQ_FOREACH(header, evhttp_request_get_input_headers(client->req), next)
    visit(arg, header->key, header->value);
}

void client_take_body(struct client *client, struct buf *body)
{
    struct evbuffer *input = evhttp_request_get_input_buffer(client->req);
    size_t len = evbuffer_get_length(input);

    struct evbuffer_iovec pieces[16];

    buf_reserve(body, len);
    while (len) {
        int count = evbuffer_peek(input, -1, NULL, pieces, 16);
        size_t taken = 0;
        for (int i = 0; i < count && i < 16; i++) {
            buf_add(body, (struct slice){pieces[i].iov_base, pieces[i].iov_len});
            taken += pieces[i].iov_len;
        }
        evbuffer_drain(input, taken);
        len -= taken;
    }
}

void client_own(struct client *client, const struct client_owner *owner, void *arg)
{
    client->owner = owner;
    client->arg = arg;
}
