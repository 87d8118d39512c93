/* client_own.h -- what the files of the client share: client.c has the connections and their
 * states, client_input.c the bytes on their way in, client_write.c those on their way out.  Nobody
 * else includes it. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "client.h"
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>
#include <sys/types.h>

struct bufferevent;
struct evbuffer;
struct evbuffer_cb_info;
struct evhttp;
struct evhttp_bound_socket;
struct evhttp_connection;
struct evhttp_request;
struct iovec;

enum { CLIENT_ID_LEN = 28 };

enum client_state { READING, HANDED, STREAMING, ENDING, ABORTING, REFUSED, WAITING };

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
    int32_t pass;           /* of the request that is coming or served: client_pass */
    bool is_away;           /* it is turned away: what comes of its body is dropped, */
    const char *away;       /* and this is said */
    size_t away_bytes;      /* so much was */
    size_t rubbish;         /* bytes dropped behind a refusal that waits for the answer before it */
    bool away_closes;       /* and the connection ends with that */
    TAILQ_ENTRY(client) waiting;
    char id[CLIENT_ID_LEN + 1];
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
    client_screen *screen;
    TAILQ_HEAD(, client) waiting; /* to be turned away, in order */
    size_t waiting_count;
    unsigned away_left; /* that may be turned away until the next tick */
    unsigned away;      /* turned away since the log was told, */
    int64_t away_at_us; /* then */
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

/* client_request.c */
void client_make_id(struct client *client);

/* client.c */
int64_t client_linger_until(void); /* a last word is to be read by then */

/* client_input.c: the callback of a connection's input; and what became due. */
void client_on_input(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg);
void client_refuse_late(struct client *client); /* with 408 */
/* Of handshakes: what is answered to plain HTTP; why there is no connection. */
void client_answer_plain(int fd);
void client_log_tls(const char *reason);

void client_say_refusal(struct client *client); /* the one that waited for the replies before it */

/* client_screen.c: of bytes that the gate has passed whether they are a request's that may not
 * come in: then they are to be dropped.  was_free: no request was under way before them. */
bool client_turns_away(struct client *client, struct slice bytes,
                       const struct gate_verdict *verdict, bool was_free);
bool client_is_free(const struct client *client); /* no request is under way */
void client_screen_start(struct client_server *server);
void client_screen_turn(struct client_server *server); /* at each tick */
void client_screen_tell(struct client_server *server); /* the log, how many since the last time */
void client_screen_forget(struct client *client);      /* it goes away */

/* client_input.c, too: a last word; false: not all of it was sent, and nothing more can be. */
bool client_send_now(struct client *client, struct slice bytes);

/* client_write.c */
void client_add_status(struct buf *head, int status);
