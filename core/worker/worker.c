/* worker.c -- the loop of one worker process. */
/* SPDX-License-Identifier: MIT */
#include "accounts/bill.h"
#include "exchange/pulse.h"
#include "generations.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "limits/limit.h"
#include "metrics/canary.h"
#include "metrics/metrics.h"
#include "notices.h"
#include "policy/policy.h"
#include "provider/upstream.h"
#include "worker_own.h"
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

/* What requests that begin now are held to. */
const struct config *worker_config(const struct worker *worker)
{
    return generation_config(worker->world.generation);
}

/* ---- a generation on trial ---- */

struct header_search {
    const char *name;
    bool is_there;
};

static void look_at_header(void *arg, const char *name, const char *value)
{
    struct header_search *search = arg;
    search->is_there = search->is_there || strcasecmp(name, search->name) == 0;
}

/* What a conversation says first, by which it is known again. */
static struct slice said_in(const struct policy_request *request)
{
    static const char *const members[] = {"messages", "prompt", "input"};
    return body_get(request->body, members[request->endpoint])->value;
}

static bool is_chosen(const struct canary_rule *rule, const struct policy_request *request)
{
    struct header_search search = {.name = rule->header};

    for (size_t i = 0; i < rule->key_count; i++)
        if (request->key_name && strcmp(request->key_name, rule->keys[i]) == 0)
            return true;
    if (rule->header)
        request->headers.each(request->headers.source, look_at_header, &search);
    return search.is_there ||
           (rule->share > 0 && canary_place(request->key_name, said_in(request)) < rule->share);
}

static struct generation *choose(void *arg, const struct policy_request *request)
{
    struct worker *worker = arg;
    struct generation *tried = generations_tried(worker->generations);
    bool is_tried = tried && is_chosen(&generation_config(tried)->canary, request);

    return is_tried ? tried : worker->world.generation;
}

static void on_ended(void *arg, const struct generation *generation, bool is_error)
{
    const struct worker *worker = arg;
    canary_count(worker->canary, generation_number(generation), is_error);
}

/* ---- stopping ---- */

static void stop(struct worker *worker)
{
    exchange_cut_all(&worker->world);
    /* What was cut still has a last word on its way. */
    struct timeval soon = {1, 0};
    event_base_loopexit(worker->world.base, client_server_count(worker->server) ? &soon : NULL);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
    struct worker *worker = arg;

    if (worker->world.count == 0 && client_server_count(worker->server) == 0)
        event_base_loopbreak(worker->world.base);
    else if (loop_now_us() >= worker->drain_until_us)
        stop(worker);
}

static void drain(struct worker *worker)
{
    struct timeval often = {0, 20 * 1000};

    worker->draining = true;
    worker->drain_until_us = loop_now_us() + worker_config(worker)->drain_ms * 1000;
    client_server_drain(worker->server);
    event_add(&worker->drained, &often);
}

static void on_term(evutil_socket_t fd, short what, void *arg)
{
    struct worker *worker = arg;

    /* Told twice: systemd and timeout(1) signal all processes, and the master passes it on. */
    if (!worker->draining)
        drain(worker);
}

static void on_quit(evutil_socket_t fd, short what, void *arg)
{
    stop(arg);
}

/* ---- the whole ---- */

/* Bodies of 100 KB come and go all the time: giving their pages back to the
 * system each time costs more than the copying. */
static void keep_memory(void)
{
    mem_pool_start();
    event_set_mem_functions(mem_lib_malloc, mem_lib_realloc, mem_free);
    mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
    mallopt(M_TRIM_THRESHOLD, 4 * 1024 * 1024);
}

/* The file is opened anew each time, so that a reload lets it be rotated. */
static void open_log(struct worker *worker)
{
    const struct config *config = worker_config(worker);
    int old = worker->log_fd, fd = STDERR_FILENO;

    if (config->log_file)
        fd = open(config->log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) {
        fprintf(stderr, "weir: log.file: cannot write %s; logging to standard error\n",
                config->log_file);
        fd = STDERR_FILENO;
    }
    log_open(fd, config->log_level, config->log_format);
    worker->log_fd = fd == STDERR_FILENO ? -1 : fd;
    if (old >= 0)
        close(old);
}

static void on_libevent_log(int severity, const char *message)
{
    struct log_line line = log_begin(severity >= EVENT_LOG_ERR ? LOG_ERROR : LOG_DEBUG, "libevent");
    log_str(&line, "message", message);
    log_end(&line);
}

static void add_signals(struct worker *worker)
{
    struct event_base *base = worker->world.base;

    event_assign(&worker->on_term, base, SIGTERM, EV_SIGNAL | EV_PERSIST, on_term, worker);
    event_assign(&worker->on_quit, base, SIGQUIT, EV_SIGNAL | EV_PERSIST, on_quit, worker);
    event_assign(&worker->drained, base, -1, EV_PERSIST, on_look, worker);
    event_add(&worker->on_term, NULL);
    event_add(&worker->on_quit, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* the master's to pass on */
    signal(SIGHUP, SIG_IGN);
    sigset_t all;
    sigfillset(&all); /* what came while we were not ready comes now */
    sigprocmask(SIG_UNBLOCK, &all, NULL);
}

static struct client_limits limits_of(const struct config *config)
{
    return (struct client_limits){
        .gate = {.head = config->limit_headers,
                 .headers = 100,
                 .uri = 2048,
                 .body = config->limit_body},
        .connections = config->limit_connections,
        .head_us = config->head_ms * 1000,
        .body_us = config->body_ms * 1000,
        .idle_us = config->idle_ms * 1000,
        .stuck_us = config->stuck_ms * 1000,
    };
}

static struct tls *tls_of(const struct generation *generation)
{
    const struct config_tls *tls = generation_config(generation)->tls;
    return tls ? tls->made : NULL;
}

static void count_refusals(struct worker *worker)
{
    if (worker_config(worker)->has_ledger)
        bills_meter(worker->world.bills, metrics_tallies(limits_metrics(worker->world.limits)));
}

static void on_switch(void *arg, struct generation *generation, int listen_fd)
{
    struct worker *worker = arg;
    struct generation *old = worker->world.generation;
    struct client_limits limits = limits_of(generation_config(generation));

    worker->world.generation = generation;
    open_log(worker);
    count_refusals(worker);
    client_server_limit(worker->server, &limits);
    client_server_secure(worker->server, tls_of(generation));
    if (listen_fd >= 0 && worker->draining)
        close(listen_fd);
    else if (listen_fd >= 0)
        client_server_listen(worker->server, listen_fd);
    generation_free(old); /* it lives on in its requests */
}

static struct tally_pulse look_at(const void *arg)
{
    const struct worker *worker = arg;

    return (struct tally_pulse){.in_flight = (int64_t)worker->world.count,
                                .waiting = (int64_t)worker->world.sleeping,
                                .connections = (int64_t)client_server_count(worker->server),
                                .shadows = (int64_t)worker->world.shadows.count};
}

static const struct config *config_now(void *arg)
{
    return worker_config(arg);
}

static void serve(struct worker *worker, const struct worker_settings *settings)
{
    struct tallies *tallies = metrics_tallies(limits_metrics(worker->world.limits));
    struct client_limits limits = limits_of(worker_config(worker));

    worker->server = client_server_new(worker->world.base, &limits, worker_on_request, worker);
    client_server_screen(worker->server, worker_screen);
    client_server_secure(worker->server, tls_of(worker->world.generation));
    client_server_listen(worker->server, settings->listen_fd);
    generations_start(worker->generations);
    struct pulse *pulse = pulse_new(worker->world.base, tallies, settings->number, look_at, worker);
    struct notices *notices = notices_new(&(struct notices_settings){
        .base = worker->world.base,
        .upstream = worker->world.upstream,
        .keys = settings->keys,
        .budget = settings->budget,
        .tallies = tallies,
        .worker = settings->number,
        .config = config_now,
        .arg = worker,
    });
    event_base_dispatch(worker->world.base);
    notices_free(notices);
    pulse_free(pulse);
    client_server_free(worker->server);
}

static void free_all(struct worker *worker)
{
    sigset_t all;

    sigfillset(&all); /* told again: nothing is left to stop */
    sigprocmask(SIG_BLOCK, &all, NULL);
    event_del(&worker->drained); /* these would look at a server that is gone */
    event_del(&worker->on_term);
    event_del(&worker->on_quit);
    exchange_cut_all(&worker->world);
    event_base_loop(worker->world.base, EVLOOP_NONBLOCK); /* exchanges are freed on a turn */
    generation_free(worker->world.generation);
    generations_free(worker->generations);
    upstream_free(worker->world.upstream);
    bills_free(worker->world.bills);
    buf_free(&worker->world.out);
    event_base_free(worker->world.base);
}

static bool load_first(struct worker *worker, const struct worker_settings *settings)
{
    struct buf problems = {0};
    struct generations_settings made = {
        .base = worker->world.base,
        .config_path = settings->config_path,
        .limits = settings->limits,
        .control_fd = settings->control_fd,
        .on_switch = on_switch,
        .arg = worker,
    };

    worker->generations = generations_new(&made, settings->generation, settings->snapshot_fd,
                                          &worker->world.generation, &problems);
    fprintf(stderr, "%.*s", (int)problems.len, problems.len ? problems.ptr : "");
    buf_free(&problems);
    return worker->generations != NULL;
}

int worker_run(const struct worker_settings *settings)
{
    struct worker worker = {.log_fd = -1};

    keep_memory(); /* before libevent allocates anything */
    event_set_log_callback(on_libevent_log);
    worker.canary = settings->canary;
    worker.unauthorized = tally_of(metrics_tallies(limits_metrics(settings->limits)), TALLY_COUNT,
                                   SLICE("weir_unauthorized_total"));
    worker.world.choose = choose;
    worker.world.on_ended = on_ended;
    worker.world.arg = &worker;
    worker.world.limits = settings->limits;
    limits_enter(settings->limits, settings->number);
    TAILQ_INIT(&worker.world.live);
    shadow_init(&worker.world.shadows);
    worker.world.base = loop_new();
    worker.world.upstream = upstream_new(worker.world.base);
    worker.world.rings = settings->rings;
    worker.world.worker = settings->number;
    worker.world.bills = bills_new(settings->keys, settings->budget, settings->journals);
    if (!load_first(&worker, settings)) /* the loader could: the world changed, or memory ran out */
        return 3;
    if (settings->tried_fd >= 0)
        generations_try(worker.generations, settings->tried, settings->tried_fd);
    generations_refuse(worker.generations, settings->refused);
    open_log(&worker);
    count_refusals(&worker);
    add_signals(&worker);
    serve(&worker, settings);
    free_all(&worker);
    return 0;
}
