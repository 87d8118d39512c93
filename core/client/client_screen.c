/* client_screen.c -- requests that may not come in: told so before evhttp or a body is read.
 *
 * A wrong key costs a reading of the head and one write.  So many are turned away a second; the
 * others wait for their turn, unread, so that whoever tries keys by the thousand takes a hundredth
 * of a core from those who have one.  Where a short body comes behind the head it is awaited and
 * dropped, and the connection goes on; else it ends. */
/* SPDX-License-Identifier: MIT */
#include "client_own.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/tls.h"
#include <event2/bufferevent.h>
#include <strings.h>
#include <sys/socket.h>

enum {
    AWAY_A_TICK = 125,    /* of which there are four a second */
    WAITING_MAX = 1024,   /* more are cut */
    BODY_MAX = 64 * 1024, /* that is worth reading to keep a connection */
    LOG_US = 1000 * 1000, /* between two lines */
};

void client_screen_start(struct client_server *server)
{
    TAILQ_INIT(&server->waiting);
    server->away_left = AWAY_A_TICK;
}

void client_server_screen(struct client_server *server, client_screen *screen)
{
    server->screen = screen;
}

bool client_is_free(const struct client *client)
{
    return client->state == READING && client->passed == client->answered &&
           client->gate.phase == GATE_HEAD;
}

/* ---- heads, which the gate found sound ---- */

static bool is_keep_alive(const char *value, const char *end)
{
    const char *stop = memchr(value, '\r', (size_t)(end - value));
    struct slice said = slice_trim((struct slice){value, stop ? (size_t)(stop - value) : 0});

    return said.len == 10 && strncasecmp(said.ptr, "keep-alive", 10) == 0;
}

/* RFC 9112, 9.6: who asks for the end gets it; of HTTP/1.0 that is the rule. */
static bool asks_for_end(struct slice head)
{
    static const struct slice name = {"\r\nconnection:", 13};
    const char *line = memchr(head.ptr, '\r', head.len), *end = head.ptr + head.len;

    if (line && line[-1] == '0')
        return true;
    for (; line && (size_t)(end - line) > name.len;
         line = memchr(line + 1, '\r', (size_t)(end - line - 1)))
        if (strncasecmp(line, name.ptr, name.len) == 0)
            return !is_keep_alive(line + name.len, end);
    return false;
}

static struct client_head read_head(struct slice bytes, struct slice key)
{
    const char *path = memchr(bytes.ptr, ' ', bytes.len);
    struct client_head head = {.method = bytes.ptr[0] == 'P' ? CLIENT_POST : CLIENT_GET,
                               .authorization = key};

    if (path)
        head.path = (struct slice){path + 1, strcspn(path + 1, " ?")};
    return head;
}

/* ---- turning away ---- */

static void write_answer(struct client *client, struct buf *reply)
{
    struct slice body = slice_of(client->away);

    client_make_id(client);
    client_add_status(reply, 401);
    buf_add_format(reply,
                   "content-type: application/json\r\nx-request-id: %s\r\n"
                   "www-authenticate: Bearer\r\ncontent-length: %zu\r\n",
                   client->id, body.len);
    if (client->away_closes)
        buf_add_text(reply, "connection: close\r\n");
    buf_add_text(reply, "\r\n");
    buf_add(reply, body);
}

static void say_away(struct client *client)
{
    struct buf reply = {0};

    client->away_closes = client->away_closes || client->server->draining;
    write_answer(client, &reply);
    if (!client_send_now(client, buf_slice(&reply)))
        shutdown(client->fd, SHUT_RDWR);
    buf_free(&reply);
    client->server->away++;
    client->is_away = false;
    client->state = READING;
    client->wait = WAIT_IDLE;
    client->deadline_us = loop_now_us() + client->server->limits.idle_us;
    if (!client->away_closes)
        return;
    if (client->is_secure)
        tls_end(client->bev);
    shutdown(client->fd, SHUT_WR); /* what comes is dropped, and the answer can be read */
    client->state = REFUSED;
    client->deadline_us = client_linger_until();
}

static void turn_away(struct client *client)
{
    struct client_server *server = client->server;

    if (server->away_left) {
        server->away_left--;
        say_away(client);
    } else if (server->waiting_count == WAITING_MAX) {
        server->away++;
        client->state = REFUSED;
        client->deadline_us = 0;
        shutdown(client->fd, SHUT_RDWR);
    } else {
        client->state = WAITING;
        server->waiting_count++;
        TAILQ_INSERT_TAIL(&server->waiting, client, waiting);
        bufferevent_disable(client->bev, EV_READ);
    }
}

/* The body that comes is dropped; at its end the answer is due. */
static void drop_body(struct client *client, const struct gate_verdict *verdict, size_t len)
{
    bool is_more = verdict->heads || verdict->passed < len; /* another request behind it */

    client->away_bytes += len;
    if (is_more || client->away_bytes > BODY_MAX || verdict->status)
        client->away_closes = true;
    if (verdict->ends || client->away_closes)
        turn_away(client);
}

bool client_turns_away(struct client *client, struct slice bytes,
                       const struct gate_verdict *verdict, bool was_free)
{
    if (client->is_away) {
        drop_body(client, verdict, bytes.len);
        return true;
    }
    if (!client->server->screen || !was_free || verdict->heads != 1 || verdict->status)
        return false;
    struct client_head head = read_head(bytes, verdict->key);
    const char *away = client->server->screen(client->server->arg, &head, &client->pass);
    if (!away)
        return false;
    client->is_away = true;
    client->away = away;
    client->pass = 0;
    client->away_bytes = bytes.len;
    client->away_closes = asks_for_end(bytes) || verdict->waits || verdict->passed < bytes.len ||
                          client->gate.left > BODY_MAX || bytes.len > BODY_MAX;
    client->wait = WAIT_BODY;
    client->deadline_us = loop_now_us() + client->server->limits.body_us;
    if (verdict->ends || client->away_closes)
        turn_away(client);
    return true;
}

static void stop_waiting(struct client *client)
{
    TAILQ_REMOVE(&client->server->waiting, client, waiting);
    client->server->waiting_count--;
}

void client_screen_forget(struct client *client)
{
    if (client->state == WAITING)
        stop_waiting(client);
}

void client_screen_tell(struct client_server *server)
{
    if (!server->away)
        return;
    struct log_line line = log_begin(LOG_WARN, "turned_away");
    log_int(&line, "status", 401);
    log_int(&line, "count", server->away);
    log_end(&line);
    server->away = 0;
    server->away_at_us = loop_now_us();
}

void client_screen_turn(struct client_server *server)
{
    struct client *client;

    server->away_left = AWAY_A_TICK;
    while (server->away_left && (client = TAILQ_FIRST(&server->waiting))) {
        server->away_left--;
        stop_waiting(client);
        say_away(client);
        bufferevent_enable(client->bev, EV_READ);
    }
    if (loop_now_us() - server->away_at_us >= LOG_US)
        client_screen_tell(server);
}
