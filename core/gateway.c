/* gateway.c -- processes: one master, a worker a core.
 *
 * A crash of the parsers, of libcurl or of LuaJIT then costs one worker's
 * streams and not all.  The listening socket is the master's and inherited, so
 * that connections which wait in its queue outlive a worker.
 *
 *   SIGTERM, SIGINT   drain: workers accept no more and let streams finish
 *   a second, SIGQUIT stop at once
 *   a third           kill: a worker in a loop of Lua hears no signal
 *   a worker dies     another is started, after 0.1 s, doubling up to 10 s */
/* SPDX-License-Identifier: MIT */
#include "gateway.h"
#include "limits.h"
#include "log.h"
#include "loop.h"
#include "mem.h"
#include "policy.h"
#include "worker.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MAX_MS = 10 * 1000,
    STABLE_MS = 10 * 1000, /* a worker that lived so long starts the back-off anew */
    BACKLOG = 4096,
};

struct worker_slot {
    pid_t pid; /* 0: is not running */
    int64_t started_us;
    int64_t start_at_us; /* when to start it again */
    int backoff_ms;
};

struct gateway {
    pid_t pid; /* the master's */
    const char *config_path;
    int listen_fd;
    struct limits *limits;
    struct worker_slot *slots;
    int count;
    int stops;   /* how often it was told to stop */
    bool failed; /* a worker could not even load */
};

/* ---- listening ---- */

static int bind_one(const struct addrinfo *address)
{
    int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) || listen(fd, BACKLOG)) {
        close(fd);
        return -1;
    }
    return fd;
}

/* A listening socket, or -1 with errno's reason printed. */
static int open_listener(const char *host, int port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found;
    char service[8];
    int fd = -1;

    snprintf(service, sizeof service, "%d", port);
    int bad = getaddrinfo(host[0] ? host : NULL, service, &hints, &found);
    if (bad) {
        fprintf(stderr, "weir: listen: %s: %s\n", host, gai_strerror(bad));
        return -1;
    }
    for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next)
        fd = bind_one(at);
    freeaddrinfo(found);
    if (fd < 0)
        fprintf(stderr, "weir: cannot listen on %s:%d: %s\n", host, port, strerror(errno));
    return fd;
}

static void log_listening(int fd, int workers)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    char host[64] = "", service[8] = "", text[80];

    getsockname(fd, (struct sockaddr *)&address, &len);
    getnameinfo((struct sockaddr *)&address, len, host, sizeof host, service, sizeof service,
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(text, sizeof text, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, service);
    struct log_line line = log_begin(LOG_INFO, "listening");
    log_str(&line, "address", text);
    log_int(&line, "workers", workers);
    log_str(&line, "version", WEIR_VERSION);
    log_end(&line);
}

/* ---- workers ---- */

/* Signals stay blocked until the worker has its handlers. */
static void become_worker(struct gateway *gateway, int number)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != gateway->pid) /* the master died before we asked to be told */
        exit(EXIT_FAILED);
    struct worker_settings settings = {gateway->config_path, gateway->listen_fd, number,
                                       gateway->limits};
    int status = worker_run(&settings);
    mem_free(gateway->slots);
    limits_free(gateway->limits);
    exit(status);
}

static void start_worker(struct gateway *gateway, int number)
{
    struct worker_slot *slot = &gateway->slots[number];
    pid_t pid = fork();

    if (pid == 0)
        become_worker(gateway, number);
    slot->started_us = loop_now_us();
    slot->start_at_us = 0;
    if (pid > 0) {
        slot->pid = pid;
        return;
    }
    slot->start_at_us = slot->started_us + BACKOFF_MAX_MS * 1000;
    struct log_line line = log_begin(LOG_ERROR, "fork_failed");
    log_str(&line, "error", strerror(errno));
    log_end(&line);
}

static void log_death(const struct worker_slot *slot, int number, int status)
{
    struct log_line line = log_begin(LOG_ERROR, "worker_died");

    log_int(&line, "worker", number);
    log_int(&line, "pid", slot->pid);
    if (WIFSIGNALED(status))
        log_int(&line, "signal", WTERMSIG(status));
    else
        log_int(&line, "status", WEXITSTATUS(status));
    log_int(&line, "restart_ms", slot->backoff_ms);
    log_end(&line);
}

static void bury(struct gateway *gateway, int number, int status)
{
    struct worker_slot *slot = &gateway->slots[number];
    int64_t now_us = loop_now_us();

    if (gateway->stops == 0) {
        bool was_stable = now_us - slot->started_us > (int64_t)STABLE_MS * 1000;
        slot->backoff_ms =
            was_stable || !slot->backoff_ms ? BACKOFF_FIRST_MS : slot->backoff_ms * 2;
        if (slot->backoff_ms > BACKOFF_MAX_MS)
            slot->backoff_ms = BACKOFF_MAX_MS;
        slot->start_at_us = now_us + (int64_t)slot->backoff_ms * 1000;
        log_death(slot, number, status);
    } else if (!WIFEXITED(status) || WEXITSTATUS(status)) {
        gateway->failed = true;
    }
    slot->pid = 0;
}

static void reap(struct gateway *gateway)
{
    pid_t pid;
    int status;

    while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
        for (int i = 0; i < gateway->count; i++)
            if (gateway->slots[i].pid == pid)
                bury(gateway, i, status);
}

static void signal_workers(const struct gateway *gateway, int number)
{
    for (int i = 0; i < gateway->count; i++)
        if (gateway->slots[i].pid)
            kill(gateway->slots[i].pid, number);
}

static bool any_runs(const struct gateway *gateway)
{
    for (int i = 0; i < gateway->count; i++)
        if (gateway->slots[i].pid)
            return true;
    return false;
}

static void start_due(struct gateway *gateway)
{
    int64_t now_us = loop_now_us();

    for (int i = 0; i < gateway->count && gateway->stops == 0; i++)
        if (!gateway->slots[i].pid && now_us >= gateway->slots[i].start_at_us)
            start_worker(gateway, i);
}

/* How long the master may sleep: until the next worker is due. */
static struct timespec next_due(const struct gateway *gateway)
{
    int64_t wait_us = 3600 * (int64_t)1000000, now_us = loop_now_us();

    for (int i = 0; i < gateway->count; i++) {
        int64_t due_us = gateway->slots[i].start_at_us - now_us;
        if (gateway->stops == 0 && !gateway->slots[i].pid && due_us < wait_us)
            wait_us = due_us > 0 ? due_us : 0;
    }
    return (struct timespec){wait_us / 1000000, wait_us % 1000000 * 1000};
}

/* ---- the master's life ---- */

static void on_stop(struct gateway *gateway, int number)
{
    bool first = gateway->stops == 0 && number != SIGQUIT;
    bool last = gateway->stops >= 2;

    gateway->stops += gateway->stops == 0 && !first ? 2 : 1;
    struct log_line line = log_begin(LOG_INFO, first ? "draining" : "stopping");

    log_end(&line);
    if (gateway->listen_fd >= 0) {
        close(gateway->listen_fd);
        gateway->listen_fd = -1;
    }
    signal_workers(gateway, first ? SIGTERM : last ? SIGKILL : SIGQUIT);
}

static void watch(struct gateway *gateway, const sigset_t *waited)
{
    while (gateway->stops == 0 || any_runs(gateway)) {
        start_due(gateway);
        struct timespec wait = next_due(gateway);
        int number = sigtimedwait(waited, NULL, &wait);
        if (number == SIGTERM || number == SIGINT || number == SIGQUIT)
            on_stop(gateway, number);
        reap(gateway);
    }
}

/* Secrets are in memory: no core file.  Streams are descriptors: as many as the system gives. */
static void harden(void)
{
    struct rlimit files, none = {0, 0};

    prctl(PR_SET_DUMPABLE, 0);
    setrlimit(RLIMIT_CORE, &none);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
}

static struct generation *load(const char *config_path, struct limits *limits)
{
    struct buf problems = {0};
    struct generation *generation = generation_load(config_path, 1, limits, &problems);

    if (!generation)
        fprintf(stderr, "%.*s", (int)problems.len, problems.ptr);
    buf_free(&problems);
    return generation;
}

int gateway_check(const char *config_path)
{
    struct limits *limits = limits_new();
    struct generation *generation = load(config_path, limits);
    struct buf text = {0};

    if (generation) {
        generation_describe(generation, &text);
        printf("%.*s%s: no errors\n", (int)text.len, text.ptr, config_path);
    }
    buf_free(&text);
    generation_free(generation);
    limits_free(limits);
    return generation ? EXIT_OK : EXIT_CONFIG;
}

/* Takes from the configuration what the master itself needs. */
static int prepare(struct gateway *gateway)
{
    struct generation *generation = load(gateway->config_path, gateway->limits);

    if (!generation)
        return EXIT_CONFIG;
    const struct config *config = generation_config(generation);
    gateway->count = config->workers ? config->workers : (int)sysconf(_SC_NPROCESSORS_ONLN);
    log_open(STDERR_FILENO, config->log_level, config->log_format);
    gateway->listen_fd = open_listener(config->host, config->port);
    if (gateway->listen_fd >= 0 && !config->key_count) {
        struct log_line line = log_begin(LOG_WARN, "no_keys");
        log_str(&line, "message", "anybody on this machine may use the gateway: keys is not set");
        log_end(&line);
    }
    generation_free(generation);
    return gateway->listen_fd < 0 ? EXIT_FAILED : EXIT_OK;
}

int gateway_serve(const char *config_path)
{
    struct gateway gateway = {
        .pid = getpid(), .config_path = config_path, .limits = limits_new(), .listen_fd = -1};
    sigset_t waited;

    int status = prepare(&gateway);
    if (status == EXIT_OK) {
        harden();
        sigemptyset(&waited);
        sigaddset(&waited, SIGTERM);
        sigaddset(&waited, SIGINT);
        sigaddset(&waited, SIGQUIT);
        sigaddset(&waited, SIGCHLD);
        sigprocmask(SIG_BLOCK, &waited, NULL);
        gateway.slots = mem_new((size_t)gateway.count * sizeof *gateway.slots);
        start_due(&gateway);
        log_listening(gateway.listen_fd, gateway.count);
        watch(&gateway, &waited);
        status = gateway.failed ? EXIT_FAILED : EXIT_OK;
        struct log_line line = log_begin(LOG_INFO, "stopped");
        log_end(&line);
    }
    mem_free(gateway.slots);
    limits_free(gateway.limits);
    return status;
}
