/* worker_own.h -- what the files of the worker share: worker.c has its loop and its life,
 * worker_routes.c what clients are served.  Nobody else includes it. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "client/client.h"
#include "exchange/exchange.h"
#include "worker.h"
#include <event2/event.h>
#include <event2/event_struct.h>

struct worker {
    struct exchange_world world;
    struct generations *generations;
    struct client_server *server;
    struct canary *canary;
    struct keys_account caller; /* whose request is served now; number 0: no virtual key's */
    struct tally *unauthorized; /* requests without a key that will do */
    int log_fd;                 /* -1: standard error */
    struct event on_term, on_quit, on_pipe;
    struct event drained; /* looks whether all is done, while draining */
    int64_t drain_until_us;
    bool draining;
};

/* What requests that begin now are held to. */
const struct config *worker_config(const struct worker *worker);

/* ---- worker_routes.c: a client_screen, and what the server calls; arg is the worker. ---- */

const char *worker_screen(void *arg, const struct client_head *head, int32_t *pass);
void worker_on_request(void *arg, struct client *client);
