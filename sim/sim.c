/* sim.c -- puts the simulated floor under exchange.c. */
/* SPDX-License-Identifier: MIT */
#include "sim.h"
#include "exchange/exchange.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "policy/policy.h"
#include "provider/origin.h"
#include "sim_loop.h"
#include <event2/event.h>
#include <event2/event_struct.h>
#include <unistd.h>

enum { TURNS_MAX = 400 * 1000 }; /* a policy that sends and sleeps for ever ends here */

struct sim {
    struct exchange_world world;
    struct buf log;
    struct origin **origins;
    size_t origin_count;
};

struct start { /* a request that waits for its time */
    struct sim *sim;
    struct sim_request *request;
    struct event timer;
};

struct sim *sim_new(struct generation *generation, sim_on_ask *on_ask, void *arg)
{
    struct sim *sim = mem_new(sizeof *sim);

    sim_loop_init();
    TAILQ_INIT(&sim->world.live);
    shadow_init(&sim->world.shadows);
    sim->world.generation = generation;
    sim->world.upstream = sim_upstream_new(on_ask, arg);
    log_open(STDERR_FILENO, LOG_DEBUG, LOG_JSON);
    log_capture(&sim->log);
    return sim;
}

static void free_origins(struct sim *sim)
{
    for (size_t i = 0; i < sim->origin_count; i++)
        origin_free(sim->origins[i]);
    mem_free(sim->origins);
    sim->origins = NULL;
    sim->origin_count = 0;
}

void sim_free(struct sim *sim)
{
    if (!sim)
        return;
    sim_upstream_free(sim->world.upstream);
    free_origins(sim);
    buf_free(&sim->world.out);
    log_capture(NULL);
    buf_free(&sim->log);
    sim_loop_fini();
    mem_free(sim);
}

void sim_configure(struct sim *sim)
{
    const struct config *config = generation_config(sim->world.generation);

    free_origins(sim);
    sim->origin_count = config->provider_count;
    sim->origins = mem_new(sim->origin_count * sizeof(struct origin *));
    for (size_t i = 0; i < sim->origin_count; i++)
        sim->origins[i] = config->providers[i].origin = sim_origin_new(&config->providers[i]);
}

void sim_reset(struct sim *sim, struct limits *limits)
{
    sim->world.limits = limits;
}

struct buf *sim_log(struct sim *sim)
{
    return &sim->log;
}

/* ---- playing ---- */

static void on_start(evutil_socket_t fd, short what, void *arg)
{
    struct start *start = arg;
    struct sim_request *request = start->request;

    request->made = sim_client_new(&request->client);
    exchange_start(&start->sim->world, request->made, request->endpoint, request->key_name, NULL);
}

static bool all_are_over(const struct sim *sim, const struct sim_request *requests, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!requests[i].made || !sim_client_is_done(requests[i].made))
            return false;
    return sim->world.count == 0 && sim->world.shadows.count == 0;
}

/* Who waits for what never comes: a provider that is silent, without a clock. */
static void cut(struct sim *sim)
{
    exchange_cut_all(&sim->world);
    while (sim->world.count && sim_loop_turn())
        ;
}

bool sim_play(struct sim *sim, struct sim_request *requests, size_t count)
{
    struct start *starts = mem_new(count * sizeof *starts);
    int turns = 0;

    for (size_t i = 0; i < count; i++) {
        struct timeval wait = {requests[i].at_us / 1000000, requests[i].at_us % 1000000};
        starts[i] = (struct start){.sim = sim, .request = &requests[i]};
        event_assign(&starts[i].timer, NULL, -1, 0, on_start, &starts[i]);
        event_add(&starts[i].timer, &wait);
    }
    while (turns < TURNS_MAX && !all_are_over(sim, requests, count) && sim_loop_turn())
        turns++;
    bool over = all_are_over(sim, requests, count);
    if (!over)
        cut(sim);
    for (size_t i = 0; i < count; i++)
        event_del(&starts[i].timer);
    mem_free(starts);
    return over;
}

void sim_forget(struct sim_request *requests, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (requests[i].made)
            sim_client_free(requests[i].made);
}
