/* sim_client.h -- a client that is not there: it holds a request, and keeps what it was sent.
 *
 * It is what exchange.c sees as struct client where sim_names.h stands in front.  It takes all
 * that comes at once, and leaves when it is told to. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "sim_names.h"

#include "client/client.h"

enum sim_client_state {
    SIM_CLIENT_WAITS,
    SIM_CLIENT_STREAMS,
    SIM_CLIENT_ENDED, /* a whole reply, or the end of a stream */
    SIM_CLIENT_CUT,   /* a stream without its end */
    SIM_CLIENT_LEFT,  /* by itself */
};

struct sim_header {
    char *name, *value;
};

struct sim_client_new { /* copied, but for body, which is taken */
    struct buf *body;
    const struct sim_header *headers;
    size_t header_count;
    int64_t leaves_us; /* after the request; < 0: stays */
};

/* What the client saw; borrowed. */
struct sim_client_seen {
    enum sim_client_state state;
    int status;
    struct slice headers; /* a block of lines, each ended by CRLF */
    struct slice body;
    int64_t first_us, last_us; /* when the head came, and the end: after the request; -1: never */
};

struct client *sim_client_new(const struct sim_client_new *made);
void sim_client_free(struct client *client); /* its exchange must be over */
bool sim_client_is_done(const struct client *client);
struct sim_client_seen sim_client_seen(const struct client *client);
