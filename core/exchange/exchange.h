/* exchange.h -- the life of one client request.
 *
 * It brings together a client, a policy and its attempts, and is the only one
 * that knows all three. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "policy/config.h"
#include "shadow.h"

struct bills;
struct client;
struct event_base;
struct exchange;
struct generation;
struct keys_account;
struct limits;
struct policy_request;
struct rings;
struct upstream;

TAILQ_HEAD(exchange_list, exchange);

struct exchange_world { /* what all exchanges of a worker share */
    struct event_base *base;
    struct upstream *upstream;
    struct generation *generation; /* for requests that begin now */
    struct limits *limits;
    struct bills *bills; /* NULL: the keys are no ledger's */
    struct rings *rings; /* to the clerk, for texts that are stored; NULL: none are */
    int worker;          /* whose ring */
    struct exchange_list live;
    size_t count;
    size_t sleeping; /* of these, waiting in their policies: for a turn, a time or an answer */
    struct shadows shadows;
    /* Optional: which generation serves the request (borrowed), and how a request of it ended. */
    struct generation *(*choose)(void *arg, const struct policy_request *request);
    void (*on_ended)(void *arg, const struct generation *generation, bool is_error);
    void *arg;
    struct buf out; /* a batch of events on its way to a client; empty between batches */
};

/* Takes the client's request from here on.  key_name: whose it is, or NULL; account: the same of a
 * virtual key, copied, or NULL. */
void exchange_start(struct exchange_world *world, struct client *client, enum endpoint endpoint,
                    const char *key_name, const struct keys_account *account);

/* The gateway is stopping: ends every exchange and shadow now, streams with an error event. */
void exchange_cut_all(struct exchange_world *world);
