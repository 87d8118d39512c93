/* gateway.c -- processes: one master, a worker a core.
 *
 * A crash of the parsers, of libcurl or of LuaJIT then costs one worker's
 * streams and not all.  The listening socket is the master's and inherited, so
 * that connections which wait in its queue outlive a worker.
 *
 *   SIGTERM, SIGINT   drain: workers accept no more and let streams finish
 *   a second, SIGQUIT stop at once
 *   a third           kill: a worker in a loop of Lua hears no signal
 *   SIGHUP            reload
 *   a worker dies     another is started, after 0.1 s, doubling up to 10 s
 *
 * The loop has few descriptors and seldom a turn: on each, everybody looks
 * whether there is something to do. */
/* SPDX-License-Identifier: MIT */
#include "gateway.h"
#include "accounts/budget.h"
#include "accounts/ring.h"
#include "admin/admin.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "leaves/tls.h"
#include "limits/keep.h"
#include "limits/limit.h"
#include "master/clerk.h"
#include "master/crew.h"
#include "master/doors.h"
#include "master/listener.h"
#include "master/loader.h"
#include "master/reload.h"
#include "master/supervisor.h"
#include "metrics/canary.h"
#include "policy/environment.h"
#include "policy/policy.h"
#include "policy/sources.h"
#include "worker/serving.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct gateway {
    struct crew crew;
    struct reload *reload;
    struct doors *doors;
    struct admin *admin;
    struct clerk *clerk;
    struct keep *keep;
    int signal_fd;
    char *journals;
    int stops; /* how often it was told to stop */
    bool said_listening;
};

/* ---- signals ---- */

static void on_stop(struct gateway *gateway, int number)
{
    bool first = gateway->stops == 0 && number != SIGQUIT;
    bool last = gateway->stops >= 2;

    gateway->stops += gateway->stops == 0 && !first ? 2 : 1;
    struct log_line line = log_begin(LOG_INFO, first ? "draining" : "stopping");

    log_end(&line);
    supervisor_say(first ? "STOPPING=1\nSTATUS=draining" : "STOPPING=1");
    reload_stop(gateway->reload);
    if (first) {
        crew_drain(&gateway->crew);
        return;
    }
    gateway->crew.is_stopping = true;
    crew_signal(&gateway->crew, last ? SIGKILL : SIGQUIT);
}

static void read_signals(struct gateway *gateway)
{
    struct signalfd_siginfo info;

    while (read(gateway->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        int number = (int)info.ssi_signo;
        if (number == SIGHUP && !gateway->stops)
            reload_ask(gateway->reload, RELOAD_SIGNAL);
        else if (number == SIGTERM || number == SIGINT || number == SIGQUIT)
            on_stop(gateway, number);
    }
}

static void reap(struct gateway *gateway)
{
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (reload_reap(gateway->reload, pid, status))
            continue;
        if (admin_reap(gateway->admin, pid, status) || clerk_reap(gateway->clerk, pid, status))
            continue;
        const struct crew_worker *worker = crew_reap(&gateway->crew, pid, status);
        if (worker)
            reload_bury(gateway->reload, worker);
    }
}

/* ---- the loop ---- */

/* Adds what wakes the master; gives how many. */
static nfds_t add_polls(const struct gateway *gateway, struct pollfd *polls)
{
    int count = 0, files = reload_poll_fd(gateway->reload);

    polls[count++] = (struct pollfd){.fd = gateway->signal_fd, .events = POLLIN};
    if (files >= 0)
        polls[count++] = (struct pollfd){.fd = files, .events = POLLIN};
    count += crew_polls(&gateway->crew, polls + count);
    count += admin_polls(gateway->admin, polls + count);
    return (nfds_t)count;
}

static void wait_until(const struct gateway *gateway, int64_t due_us)
{
    struct pollfd *polls = mem_new((size_t)(2 + gateway->crew.count + ADMIN_POLLS) * sizeof *polls);
    int64_t wait_us = due_us - loop_now_us();
    int wait_ms = wait_us <= 0                        ? 0
                  : wait_us > 3600 * (int64_t)1000000 ? 3600 * 1000
                                                      : (int)(wait_us / 1000) + 1;

    poll(polls, add_polls(gateway, polls), wait_ms);
    mem_free(polls);
}

static int64_t sooner(int64_t one, int64_t other)
{
    return one < other ? one : other;
}

/* Gives when the next turn is due. */
static int64_t turn(struct gateway *gateway)
{
    int64_t now_us = loop_now_us(), due_us;

    read_signals(gateway);
    crew_hear(&gateway->crew, reload_hear, gateway->reload);
    reap(gateway);
    due_us = reload_turn(gateway->reload, now_us);
    const struct version *version = reload_current(gateway->reload);
    clerk_want(gateway->clerk, version->has_ledger, version->timezone);
    rings_allow(gateway->crew.start.rings, version->store);
    due_us = sooner(due_us, clerk_turn(gateway->clerk, now_us));
    if (!reload_is_telling(gateway->reload) && clerk_is_ready(gateway->clerk))
        due_us = sooner(due_us, crew_turn(&gateway->crew, now_us));
    due_us = sooner(due_us, admin_turn(gateway->admin, now_us));
    due_us = sooner(due_us, keep_turn(gateway->keep, now_us));
    if (!gateway->said_listening && !gateway->stops && crew_all_ready(&gateway->crew)) {
        gateway->said_listening = true;
        listener_log(reload_listener(gateway->reload), gateway->crew.count);
        supervisor_say("READY=1\nSTATUS=serving");
    }
    return due_us;
}

static void run(struct gateway *gateway)
{
    int64_t due_us = turn(gateway);

    while (gateway->stops == 0 || crew_any(&gateway->crew)) {
        wait_until(gateway, due_us);
        due_us = turn(gateway);
    }
}

/* ---- the whole ---- */

/* Secrets are in memory: no core file.  Streams are descriptors: as many as the system gives. */
static void harden(void)
{
    struct rlimit files, none = {0, 0};

#ifndef __SANITIZE_ADDRESS__ /* whose leak check attaches to the process */
    prctl(PR_SET_DUMPABLE, 0);
#endif
    setrlimit(RLIMIT_CORE, &none);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static int open_signals(void)
{
    sigset_t waited;

    sigemptyset(&waited);
    sigaddset(&waited, SIGTERM);
    sigaddset(&waited, SIGINT);
    sigaddset(&waited, SIGQUIT);
    sigaddset(&waited, SIGHUP);
    sigaddset(&waited, SIGCHLD);
    sigprocmask(SIG_BLOCK, &waited, NULL);
    return signalfd(-1, &waited, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* The data folder is the first version's, as that of limits is. */
static void open_clerk(struct gateway *gateway)
{
    const struct version *version = reload_current(gateway->reload);
    struct crew_start *start = &gateway->crew.start;
    struct clerk_settings settings = {
        .folder = version->data,
        .keys = start->keys,
        .budget = start->budget,
        .rings = start->rings,
    };

    gateway->clerk = clerk_new(&settings);
    gateway->journals = clerk_journals(version->data);
    start->journals = gateway->journals;
    admin_set_clerk(gateway->admin, gateway->clerk);
}

static int serve(struct gateway *gateway, struct limits *limits)
{
    int status = reload_first(gateway->reload);

    if (status != EXIT_OK)
        return status;
    harden();
    tls_start();
    signal(SIGPIPE, SIG_IGN);
    gateway->signal_fd = open_signals();
    gateway->keep = keep_new(reload_current(gateway->reload)->limits, limits);
    doors_take(gateway->doors, &reload_current(gateway->reload)->doors);
    gateway->admin = admin_new(gateway->doors, gateway->reload, &gateway->crew);
    open_clerk(gateway);
    run(gateway);
    struct log_line line = log_begin(LOG_INFO, "stopped");
    log_end(&line);
    return gateway->crew.failed ? EXIT_FAILED : EXIT_OK;
}

int gateway_serve(const char *config_path)
{
    struct gateway gateway = {.signal_fd = -1};

    environment_take();
    struct limits *limits = limits_new();
    gateway.crew.start.canary = canary_new();
    gateway.crew.start.keys = keys_new();
    gateway.crew.start.budget = budget_new(gateway.crew.start.keys);
    gateway.crew.start.rings = rings_new();
    gateway.crew.start.tried_fd = -1;
    gateway.doors = doors_new();
    gateway.reload = reload_new(config_path, limits, &gateway.crew, gateway.doors);
    int status = serve(&gateway, limits);
    admin_free(gateway.admin);
    clerk_free(gateway.clerk);
    mem_free(gateway.journals);
    keep_free(gateway.keep);
    reload_free(gateway.reload);
    doors_free(gateway.doors);
    crew_fini(&gateway.crew);
    canary_free(gateway.crew.start.canary);
    budget_free(gateway.crew.start.budget);
    keys_free(gateway.crew.start.keys);
    rings_free(gateway.crew.start.rings);
    limits_free(limits);
    return status;
}

/* The policies' own specs, where the configuration names them: in a child, as for serving. */
static bool prove(const char *config_path, const struct config *config, struct limits *limits,
                  struct buf *text, struct buf *problems)
{
    if (!config->check)
        return true;
    struct version *version = loader_run(config_path, limits);
    bool is_sound = version && version->is_sound;
    if (is_sound)
        buf_add_format(text, "specs      %s: %d passed\n", config->check, version->specs);
    else if (version)
        buf_add(problems, buf_slice(&version->problems));
    else
        buf_add_format(problems, "weir: cannot run the specs: %s\n", strerror(errno));
    version_free(version);
    return is_sound;
}

static void describe_tls(const struct config_tls *tls, struct buf *text)
{
    char end[32];
    time_t ends = (time_t)tls_ends(tls->made);
    struct tm day;

    gmtime_r(&ends, &day);
    strftime(end, sizeof end, "%Y-%m-%d %H:%M UTC", &day);
    buf_add_format(text, "tls        %s, %s %s\n", tls_subject(tls->made),
                   (double)ends < loop_wall_seconds() ? "which ENDED" : "until", end);
}

int gateway_check(const char *config_path)
{
    struct limits *limits = limits_new();
    struct sources *sources = sources_new();
    struct buf problems = {0}, text = {0};
    struct generation *generation = serving_load(config_path, 1, limits, sources, &problems);
    bool is_sound = generation != NULL;

    if (generation) {
        generation_describe(generation, &text);
        if (generation_config(generation)->tls)
            describe_tls(generation_config(generation)->tls, &text);
        is_sound = prove(config_path, generation_config(generation), limits, &text, &problems);
    }
    if (is_sound)
        printf("%.*s%s: no errors\n", (int)text.len, text.ptr, config_path);
    else
        fprintf(stderr, "%.*s", (int)problems.len, buf_slice(&problems).ptr);
    buf_free(&problems);
    buf_free(&text);
    generation_free(generation);
    sources_free(sources);
    limits_free(limits);
    return is_sound ? EXIT_OK : EXIT_CONFIG;
}
