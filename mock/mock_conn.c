/* mock_conn.c -- sockets: reading, pace, and the ways to end.
 *
 *     READING -> HELD        [take_request]  /mock/wait: not yet
 *     HELD    -> READING     [mock_conn_check_held]
 *     READING -> ANSWERING   [start_answer]
 *     ANSWERING -> STALLED   [do_act]        the fault is silence
 *     STALLED -> ANSWERING   [mock_conn_resume_all]
 *     ANSWERING -> READING   [do_act]        whole; the connection stays
 *     (any) -> CLOSING       [shut]          our FIN is out, the peer's is awaited
 *     (any) -> GONE          [drop]          freed at the end of the turn */
/* SPDX-License-Identifier: MIT */
#include "mock_conn.h"
#include "leaves/mem.h"
#include "mock_answer.h"
#include "mock_control.h"
#include "mock_http.h"
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    READ_BYTES = 256 << 10, /* one recv: a 100 KB request is one or two */
    MAX_INPUT = 64 << 20,
    TURN_STEPS = 64,   /* frames of one connection before the others' turn */
    CLOSING_MS = 2000, /* for the peer's FIN */
};

enum state { READING, HELD, ANSWERING, STALLED, CLOSING, GONE };

struct mock_conn {
    struct mock *mock;
    struct mock_conn *next, *prev;
    struct mock_watch watch;
    struct mock_timer timer;
    enum state state;
    struct buf in, out;
    struct mock_answer answer; /* while ANSWERING or STALLED */
    enum mock_act act;         /* to do once out is empty */
    uint64_t number;           /* of the request; 0: a control's */
    uint64_t due_us;           /* when the last wait of this answer ended */
    bool waited;               /* the wait before the next step is behind us */
    bool wants_write;
    bool continued; /* 100 Continue is out for this request */
};

static void on_ready(void *arg, uint32_t events);
static void on_due(void *arg);
static void take_buffered(struct mock_conn *conn);
static void drive(struct mock_conn *conn);

void mock_conn_new(struct mock *mock, int fd)
{
    struct mock_conn *conn = mem_new(sizeof *conn);
    int on = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    conn->mock = mock;
    conn->watch = (struct mock_watch){fd, on_ready, conn};
    conn->timer = (struct mock_timer){.on_due = on_due, .arg = conn};
    conn->next = mock->conns;
    if (mock->conns)
        mock->conns->prev = conn;
    mock->conns = conn;
    mock->stats.connections++;
    mock->stats.open_connections++;
    mock_loop_add(&mock->loop, &conn->watch, EPOLLIN | EPOLLRDHUP);
}

static void set_state(struct mock_conn *conn, enum state state)
{
    conn->mock->held += (state == HELD) - (conn->state == HELD);
    conn->state = state;
}

static void unlink_conn(struct mock_conn *conn)
{
    if (conn->next)
        conn->next->prev = conn->prev;
    if (conn->prev)
        conn->prev->next = conn->next;
    else
        conn->mock->conns = conn->next;
}

static void end_answer(struct mock_conn *conn, const char *outcome)
{
    struct mock *mock = conn->mock;

    if (conn->state != ANSWERING && conn->state != STALLED)
        return;
    if (conn->answer.stream)
        mock->stats.open_streams--;
    if (conn->number)
        mock_stats_end(&mock->stats, conn->number, outcome, mock->loop.now_us);
    mock_answer_fini(&conn->answer);
    conn->act = MOCK_GO_ON;
}

static void drop(struct mock_conn *conn)
{
    struct mock *mock = conn->mock;

    if (conn->state == GONE)
        return;
    end_answer(conn, "cut");
    set_state(conn, GONE);
    mock_timer_cancel(&mock->loop, &conn->timer);
    close(conn->watch.fd);
    conn->watch.fd = -1;
    unlink_conn(conn);
    buf_free(&conn->in);
    buf_free(&conn->out);
    mock->stats.open_connections--;
    if (mock->full)
        mock_loop_set(&mock->loop, &mock->listener, EPOLLIN);
    mock->full = false;
    mock_loop_drop(&mock->loop, conn);
}

/* The peer closed, in whatever state. */
static void leave(struct mock_conn *conn)
{
    struct mock_stats *stats = &conn->mock->stats;

    if (conn->number && (conn->state == ANSWERING || conn->state == STALLED)) {
        stats->closed_by_peer++;
        stats->last_close_us = conn->mock->loop.now_us;
        end_answer(conn, "closed_by_peer");
        set_state(conn, READING);
    }
    drop(conn);
}

/* FIN; a close at once might turn into RST and take sent bytes with it. */
static void shut(struct mock_conn *conn)
{
    set_state(conn, CLOSING);
    shutdown(conn->watch.fd, SHUT_WR);
    mock_timer_set(&conn->mock->loop, &conn->timer,
                   conn->mock->loop.now_us + (uint64_t)CLOSING_MS * 1000);
}

static void reset(struct mock_conn *conn)
{
    struct linger linger = {.l_onoff = 1, .l_linger = 0};

    setsockopt(conn->watch.fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    drop(conn);
}

static void want_write(struct mock_conn *conn, bool wants)
{
    if (conn->wants_write == wants)
        return;
    conn->wants_write = wants;
    mock_loop_set(&conn->mock->loop, &conn->watch, EPOLLIN | EPOLLRDHUP | (wants ? EPOLLOUT : 0u));
}

static void set_timer(struct mock_conn *conn, int ms)
{
    mock_timer_set(&conn->mock->loop, &conn->timer, conn->mock->loop.now_us + (uint64_t)ms * 1000);
}

/* Bytes a write and the wait between writes; 0 bytes: no bound. */
static size_t pace_of(const struct mock_conn *conn, int *wait_ms)
{
    const struct mock_answer *answer = &conn->answer;

    *wait_ms = 0;
    if (conn->state != ANSWERING)
        return 0;
    if (!(answer->fault.quirks & MOCK_DRIP))
        return (size_t)answer->options->split;
    *wait_ms = answer->options->interval_ms ? answer->options->interval_ms : 1;
    return 1;
}

/* True when out is empty; else this goes on by itself, or the peer is gone. */
static bool flush(struct mock_conn *conn)
{
    int wait_ms;
    size_t pace = pace_of(conn, &wait_ms);

    while (conn->out.len) {
        size_t len = pace && pace < conn->out.len ? pace : conn->out.len;
        ssize_t sent = send(conn->watch.fd, conn->out.ptr, len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EINTR) {
            leave(conn);
            return false;
        }
        if (sent < 0) {
            want_write(conn, true);
            return false;
        }
        buf_drop(&conn->out, (size_t)sent);
        if (pace && conn->out.len) {
            set_timer(conn, wait_ms);
            return false;
        }
    }
    want_write(conn, false);
    if (conn->out.capacity > READ_BYTES)
        buf_free(&conn->out);
    return true;
}

/* An answer waits from wait to wait, not from now: it keeps its rate when the
 * loop is late, and does not run to catch up when it is very late. */
static bool must_wait(struct mock_conn *conn)
{
    uint64_t now_us = conn->mock->loop.now_us;
    int ms = conn->waited ? 0 : mock_answer_wait_ms(&conn->answer);

    conn->waited = false;
    if (!ms)
        return false;
    conn->due_us += (uint64_t)ms * 1000;
    if (conn->due_us < now_us)
        conn->due_us = now_us;
    conn->waited = true;
    mock_timer_set(&conn->mock->loop, &conn->timer, conn->due_us);
    return true;
}

static void do_act(struct mock_conn *conn)
{
    bool keep_alive = conn->answer.keep_alive;

    switch (conn->act) {
    case MOCK_WHOLE:
        if (conn->number)
            conn->mock->stats.answers++;
        end_answer(conn, "done");
        if (keep_alive)
            set_state(conn, READING);
        else
            shut(conn);
        return;
    case MOCK_STALL:
        conn->act = MOCK_GO_ON;
        set_state(conn, STALLED);
        if (conn->answer.options->ping_ms)
            set_timer(conn, conn->answer.options->ping_ms);
        return;
    case MOCK_RESET:
        end_answer(conn, "cut");
        set_state(conn, READING);
        reset(conn);
        return;
    case MOCK_CLOSE:
        end_answer(conn, "cut");
        shut(conn);
        return;
    case MOCK_GO_ON:
    case MOCK_STOP:
    case MOCK_ERROR: return; /* no step ends with these */
    }
}

static void drive(struct mock_conn *conn)
{
    for (int steps = 0; steps < TURN_STEPS; steps++) {
        if (!flush(conn))
            return;
        if (conn->act) {
            do_act(conn);
            return;
        }
        if (must_wait(conn))
            return;
        conn->act = mock_answer_step(&conn->answer, &conn->out);
    }
    set_timer(conn, 0);
}

static void on_due(void *arg)
{
    struct mock_conn *conn = arg;

    switch (conn->state) {
    case ANSWERING: drive(conn); break;
    case STALLED:
        mock_answer_ping(&conn->answer, &conn->out);
        if (flush(conn))
            set_timer(conn, conn->answer.options->ping_ms);
        return;
    case CLOSING: drop(conn); return;
    case READING:
    case HELD:
    case GONE: return;
    }
    take_buffered(conn);
}

static void start_answer(struct mock_conn *conn, const struct mock_request *request)
{
    struct mock *mock = conn->mock;
    struct buf body = {0};
    int status;

    switch (mock_control(mock, request, &status, &body)) {
    case MOCK_LATER: set_state(conn, HELD); return;
    case MOCK_REPLY:
        conn->number = 0;
        mock_answer_init_json(&conn->answer, &mock->options, request, status, &body);
        break;
    case MOCK_NOT_MINE:
        conn->number = mock_stats_add(&mock->stats, request, mock->loop.now_us);
        mock_answer_init(&conn->answer, &mock->options, request, mock->loop.now_us);
        break;
    }
    set_state(conn, ANSWERING);
    mock->stats.open_streams += conn->answer.stream;
    conn->due_us = mock->loop.now_us;
    conn->waited = conn->continued = false;
    drive(conn);
}

static void answer_expect(struct mock_conn *conn)
{
    if (conn->continued)
        return;
    conn->continued = true;
    buf_add_text(&conn->out, "HTTP/1.1 100 Continue\r\n\r\n");
    flush(conn);
}

static void refuse_junk(struct mock_conn *conn)
{
    buf_add_text(&conn->out, "HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n"
                             "connection: close\r\n\r\n");
    if (flush(conn))
        shut(conn);
    else
        drop(conn);
}

/* Plays the requests at the front of bytes, as many as do not have to wait;
 * gives what is left.  *room is what the next one lacks, where that is known. */
static struct slice take_requests(struct mock_conn *conn, struct slice bytes, size_t *room)
{
    static struct buf decoded; /* one thread: kept for its room */
    struct mock_request request;

    *room = 0;
    while (bytes.len && conn->state == READING) {
        switch (mock_http_read(bytes, &request, &decoded, room)) {
        case MOCK_READ_MORE:
            if (request.expects)
                answer_expect(conn);
            return bytes;
        case MOCK_READ_BAD: refuse_junk(conn); return (struct slice){0};
        case MOCK_READ_WHOLE:
            start_answer(conn, &request);
            if (conn->state == HELD)
                return bytes;
            bytes = (struct slice){bytes.ptr + request.used, bytes.len - request.used};
        }
    }
    return bytes;
}

static void take_buffered(struct mock_conn *conn)
{
    size_t room;

    if (conn->state != READING || !conn->in.len)
        return;
    struct slice left = take_requests(conn, buf_slice(&conn->in), &room);
    if (conn->state == GONE)
        return;
    buf_drop(&conn->in, conn->in.len - left.len);
    if (!conn->in.len)
        buf_free(&conn->in);
    else if (room)
        buf_reserve(&conn->in, room);
}

/* Most requests are read into this and played from it, without a copy. */
static char incoming[READ_BYTES];

static void take_bytes(struct mock_conn *conn, size_t len)
{
    struct slice bytes = {incoming, len};
    size_t room = 0;

    if (conn->state == CLOSING)
        return;
    if (conn->state == READING && !conn->in.len) {
        bytes = take_requests(conn, bytes, &room);
        if (conn->state == GONE || conn->state == CLOSING)
            return;
        if (room)
            buf_reserve(&conn->in, bytes.len + room);
        buf_add(&conn->in, bytes);
        return;
    }
    buf_add(&conn->in, bytes);
    take_buffered(conn);
}

static void on_ready(void *arg, uint32_t events)
{
    struct mock_conn *conn = arg;

    if (events & EPOLLOUT && conn->state == ANSWERING)
        drive(conn);
    else if (events & EPOLLOUT && conn->state != GONE)
        flush(conn);
    take_buffered(conn);
    if (conn->state == GONE || !(events & ~(uint32_t)EPOLLOUT))
        return;
    ssize_t got = recv(conn->watch.fd, incoming, sizeof incoming, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0 || conn->in.len > MAX_INPUT)
        leave(conn);
    else
        take_bytes(conn, (size_t)got);
}

void mock_conn_resume_all(struct mock *mock)
{
    struct mock_conn *next;

    for (struct mock_conn *conn = mock->conns; conn; conn = next) {
        next = conn->next; /* drive ends no other connection */
        if (conn->state != STALLED)
            continue;
        set_state(conn, ANSWERING);
        mock_answer_resume(&conn->answer);
        conn->due_us = mock->loop.now_us;
        set_timer(conn, 0);
        conn->waited = false;
    }
}

void mock_conn_check_held(struct mock *mock)
{
    struct mock_conn *next;

    for (struct mock_conn *conn = mock->conns; conn && mock->held; conn = next) {
        next = conn->next;
        if (conn->state != HELD)
            continue;
        set_state(conn, READING);
        take_buffered(conn);
    }
}

void mock_conn_end_all(struct mock *mock)
{
    while (mock->conns)
        drop(mock->conns);
}
