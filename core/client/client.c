/* client.c -- evhttp in front, with the strict gate before it and replies written past it.
 *
 *            bytes                 sound bytes            whole request
 *   socket --> client_on_input --------------> evhttp ------------------> on_request
 *                        | gate_read                                          |
 *                        +-> refuse (our own JSON)      client_reply <--------+
 *
 * The way in is client_input.c's, the way out client_write.c's.
 *
 *           +------------------- on_complete ----------------------+
 *           v                                                      |
 *   accept -> READING -> HANDED -> STREAMING -> ENDING ------------+
 *                |          |          |           ^
 *                |          +----------|-----------+  client_reply
 *                |                     +-> ABORTING -> closed
 *              |   +-> REFUSED -> closed
 *              +-----> WAITING -> READING or REFUSED
 *
 * READING   -> HANDED    [on_evhttp_request]   evhttp has a whole request
 * HANDED    -> ENDING    [client_reply]        a whole answer is on its way
 * HANDED    -> STREAMING [client_stream_start]
 * STREAMING -> ENDING    [client_stream_end]
 * STREAMING -> ABORTING  [client_stream_abort] no final chunk: the client sees a cut
 * ENDING    -> READING   [on_complete]         kept alive: the next request
 * READING   -> REFUSED   [refuse]              the gate said no; the answer is lingering
 * READING   -> WAITING   [client_turns_away]   for its 401, of which so many a second are said
 * (any)     -> freed     [on_close]            evhttp closes the connection */
/* SPDX-License-Identifier: MIT */
#include "client_own.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "leaves/tls.h"
#include <errno.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/socket.h>

enum {
    TICK_MS = 250,
    ACCEPT_PAUSE_MS = 100, /* when descriptors ran out */
    OLD_SOCKET_MS = 100,   /* for what waits in its queue */
};

static const int64_t LINGER_US = 1000 * 1000; /* for a last word to be read */

static struct client_server *accepting; /* one a process */
static struct client **by_fd;           /* evhttp's callbacks hand us its objects, not ours */
static size_t by_fd_count;

static void on_close(struct evhttp_connection *evcon, void *arg);
static void on_old_over(evutil_socket_t fd, short what, void *arg);
static void raise_maxima(struct client_server *server);
static void on_complete(struct evhttp_request *req, void *arg);

int64_t client_linger_until(void)
{
    return loop_now_us() + LINGER_US;
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
    client_make_id(client);
    server->on_request(server->arg, client);
}

/* The reply is out; evhttp frees the request after this. */
static void on_complete(struct evhttp_request *req, void *arg)
{
    struct client *client = arg;
    const struct client_limits *limits = &client->server->limits;

    client->req = NULL;
    client->pass = 0;
    client->answered++;
    client->state = READING;
    client->wait = client->held.len ? WAIT_HEAD : WAIT_IDLE;
    client->deadline_us = loop_now_us() + (client->held.len ? limits->head_us : limits->idle_us);
    if (client->passed > client->answered || client->gate.phase == GATE_BODY) {
        client->wait = WAIT_BODY;
        client->deadline_us = loop_now_us() + client->server->limits.body_us;
    }
    if (client->refusal.status && client->passed == client->answered)
        client_say_refusal(client);
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
    evbuffer_add_cb(bufferevent_get_input(client->bev), client_on_input, client);
    LIST_INSERT_HEAD(&server->clients, client, link);
    LIST_INSERT_HEAD(&server->fresh, client, fresh);
    server->count++;
    event_active(&server->adopt, EV_TIMEOUT, 0); /* when evhttp has made its own object */
    return client->bev;
}

/* ---- TLS ---- */

static bufferevent_event_cb evhttp_on_event; /* evhttp's own, the same for all connections */

/* Of the handshake; evhttp closes. */
static void on_tls_event(struct bufferevent *bev, short what, void *evcon)
{
    struct client *client = client_of(bev);
    bool is_plain = false;

    if (client && client->state == READING && (what & BEV_EVENT_ERROR)) {
        const char *why = tls_fault(bev, &is_plain);
        if (is_plain)
            client_answer_plain(client->fd);
        client_log_tls(why);
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
    client_screen_forget(client);
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
    evbuffer_remove_cb(bufferevent_get_input(client->bev), client_on_input, client);
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
        if (client->is_secure && !tls_is_open(client->bev))
            client_log_tls("the handshake did not end in time");
        if (client->wait == WAIT_IDLE || (client->wait == WAIT_HEAD && client->held.len == 0))
            return true;
        if (client->passed == client->answered || client->wait == WAIT_BODY) {
            client->passed = client->answered; /* the late one will not be answered */
            client_refuse_late(client);
        }
        return false;
    case HANDED:
    case STREAMING:
    case ENDING: return is_stuck(client, now_us);
    case ABORTING:
    case REFUSED: return now_us >= client->deadline_us;
    case WAITING: return false; /* it has its turn */
    }
    return false;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    struct client_server *server = arg;
    struct client *client, *next;
    int64_t now_us = loop_now_us();

    client_screen_turn(server);
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
    client_screen_start(server);
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
    client_screen_tell(server);
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

void client_own(struct client *client, const struct client_owner *owner, void *arg)
{
    client->owner = owner;
    client->arg = arg;
}
