/* client_input.c -- bytes before evhttp sees them: the gate, what it holds back, what it refuses.
 *
 * client_on_input is a callback of the connection's input buffer, so it sees bytes before evhttp
 * does.  What the gate has not passed yet (the head that is still coming) waits in client->held. */
/* SPDX-License-Identifier: MIT */
#include "client_own.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/tls.h"
#include "parsers/json.h"
#include <event2/buffer.h>
#include <sys/socket.h>

enum {
    READ_ONCE = 4096,          /* what libevent 2.1 reads a turn */
    READ_MORE = 64 * 1024,     /* what we read on top when that was not all */
    PIPELINED_MAX = 64 * 1024, /* bytes behind a request that is being served */
};

/* ---- refusals: before evhttp has anything to say ---- */

bool client_send_now(struct client *client, struct slice bytes)
{
    if (client->is_secure)
        return !client_stream_queued(client) && tls_write(client->bev, bytes);
    return send(client->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT) ==
           (ssize_t)bytes.len;
}

void client_say_refusal(struct client *client)
{
    const struct gate_verdict *no = &client->refusal;
    struct buf reply = {0}, body = {0};

    client_make_id(client);
    buf_add_text(&body, "{\"error\":{\"message\":");
    json_quote(&body, slice_of(no->reason));
    buf_add_text(&body, ",\"type\":\"invalid_request_error\",\"param\":null,\"code\":");
    json_quote(&body, slice_of(no->code));
    buf_add_text(&body, "}}");
    client_add_status(&reply, no->status);
    buf_add_format(&reply, "content-type: application/json\r\nx-request-id: %s\r\n", client->id);
    if (no->status == 405)
        buf_add_text(&reply, "allow: GET, POST\r\n");
    buf_add_format(&reply, "content-length: %zu\r\nconnection: close\r\n\r\n", body.len);
    if (!client->refused_head_only)
        buf_add(&reply, buf_slice(&body));
    if (!client_send_now(client, buf_slice(&reply)))
        shutdown(client->fd, SHUT_RDWR);
    else if (client->is_secure)
        tls_end(client->bev);
    buf_free(&reply);
    buf_free(&body);

    /* The peer may still be sending: closing now would reset the connection and
     * take our answer with it.  What comes is thrown away for a while. */
    shutdown(client->fd, SHUT_WR);
    client->state = REFUSED;
    client->deadline_us = client_linger_until();

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
        client_say_refusal(client);
}

void client_refuse_late(struct client *client)
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
    bool was_free = client_is_free(client);
    struct gate_verdict verdict = gate_read(&client->gate, buf_slice(&client->held));

    if (client_turns_away(client, buf_slice(&client->held), &verdict, was_free)) {
        buf_free(&client->held);
        return;
    }
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
    bool was_free = client_is_free(client) && old == 0;
    struct slice bytes = {at.iov_base, fresh};
    struct gate_verdict verdict = gate_read(&client->gate, bytes);
    if (verdict.passed == fresh && !verdict.status) {
        if (client_turns_away(client, bytes, &verdict, was_free)) {
            evbuffer_drain(input, fresh);
            return true;
        }
        count_passed(client, &verdict);
        return true;
    }
    client->gate = before;
    return false;
}

/* Behind a request that is being served: it is thrown away, but not for as long as that takes. */
static void count_rubbish(struct client *client, size_t len)
{
    client->rubbish += len;
    if (client->rubbish > PIPELINED_MAX)
        shutdown(client->fd, SHUT_RDWR);
}

void client_on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg)
{
    struct client *client = arg;
    size_t fresh = info->n_added;

    if (client->in_gate || fresh == 0)
        return;
    client->in_gate = true;
    if (client->state == WAITING)
        shutdown(client->fd, SHUT_RDWR); /* over TLS bytes may come though nobody reads */
    if (client->state == REFUSED || client->state == ABORTING || client->state == WAITING ||
        client->refusal.status) {
        evbuffer_drain(input, evbuffer_get_length(input));
        if (client->state != REFUSED) /* that one has a deadline */
            count_rubbish(client, fresh);
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
