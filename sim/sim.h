/* sim.h -- a gateway's world without a network: the same exchanges, over clients, providers and
 * a clock that are simulated.
 *
 * It knows nothing of Lua but through policy.h; lua_sim.c lets specs drive it. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "policy/config.h"
#include "sim_client.h"
#include "sim_upstream.h"

struct generation;
struct limits;
struct sim;

/* Borrows both. From here to sim_free the process's clock is virtual and its log captured. */
struct sim *sim_new(struct generation *generation, sim_on_ask *on_ask, void *arg);
void sim_free(struct sim *sim);

/* The generation's configuration is another now. */
void sim_configure(struct sim *sim);

/* The same world with other limits: nothing cools. */
void sim_reset(struct sim *sim, struct limits *limits);

struct sim_request {
    struct sim_client_new client;
    enum endpoint endpoint;
    const char *key_name; /* or NULL */
    int64_t at_us;        /* after the first */
    struct client *made;  /* for sim_client_seen, until sim_forget */
};

/* Plays the requests to their ends, at most some hundred thousand steps: false when that was not
 * enough, and what is left is cut. */
bool sim_play(struct sim *sim, struct sim_request *requests, size_t count);
void sim_forget(struct sim_request *requests, size_t count); /* frees their clients */

struct buf *sim_log(struct sim *sim); /* the lines so far, as JSON; the caller may clear it */
