/* crew.c -- forks workers, listens to them, and puts another where one died. */
/* SPDX-License-Identifier: MIT */
#include "crew.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "limits/limit.h"
#include "worker/worker.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    BACKOFF_FIRST_MS = 100,
    BACKOFF_MAX_MS = 10 * 1000,
    STABLE_MS = 10 * 1000, /* a worker that lived so long starts the back-off anew */
    RESERVED = 3,          /* standard input, output and error */
};

/* ---- starting ---- */

static int compare(const void *one, const void *other)
{
    return *(const int *)one - *(const int *)other;
}

/* Of the master's descriptors a child keeps these alone. */
static void close_others(int *kept, size_t count)
{
    unsigned from = RESERVED;

    qsort(kept, count, sizeof *kept, compare);
    for (size_t i = 0; i < count; i++) {
        unsigned fd = (unsigned)kept[i];
        if (fd > from)
            close_range(from, fd - 1, 0);
        if (fd >= from)
            from = fd + 1;
    }
    close_range(from, ~0u, 0);
}

/* Signals stay blocked until the worker has its handlers. */
static void become_worker(struct crew *crew, const struct crew_worker *worker, pid_t master,
                          int control_fd)
{
    const struct crew_start *start = &crew->start;
    struct worker_settings settings = {
        .config_path = start->config_path,
        .number = worker->number,
        .generation = start->generation,
        .snapshot_fd = start->snapshot_fd,
        .control_fd = control_fd,
        .listen_fd = start->listen_fd,
        .refused = start->refused,
        .limits = start->limits,
        .tried = start->tried,
        .tried_fd = start->tried_fd,
        .canary = start->canary,
        .keys = start->keys,
        .budget = start->budget,
        .rings = start->rings,
        .journals = start->journals,
    };
    int kept[] = {start->snapshot_fd, control_fd, start->listen_fd, start->tried_fd};
    size_t count = sizeof kept / sizeof *kept - (start->tried_fd < 0);

    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != master) /* it died before we asked to be told */
        exit(1);
    close_others(kept, count);
    exit(worker_run(&settings));
}

static void put_off(struct crew_worker *worker, const char *what)
{
    worker->start_at_us = worker->started_us + (int64_t)BACKOFF_MAX_MS * 1000;
    struct log_line line = log_begin(LOG_ERROR, what);
    log_str(&line, "error", strerror(errno));
    log_end(&line);
}

static void start(struct crew *crew, struct crew_worker *worker, int64_t now_us)
{
    int fds[2];

    worker->started_us = now_us;
    worker->start_at_us = 0;
    if (!control_open(fds)) {
        put_off(worker, "fork_failed");
        return;
    }
    pid_t master = getpid(), pid = fork();
    if (pid == 0)
        become_worker(crew, worker, master, fds[1]);
    close(fds[1]);
    if (pid < 0) {
        close(fds[0]);
        put_off(worker, "fork_failed");
        return;
    }
    worker->pid = pid;
    worker->control_fd = fds[0];
    worker->live = 1;
    worker->is_ready = false;
}

int64_t crew_turn(struct crew *crew, int64_t now_us)
{
    int64_t due_us = INT64_MAX;

    for (int i = 0; i < crew->count && !crew->is_stopping; i++) {
        struct crew_worker *worker = crew->list[i];
        if (worker->pid)
            continue;
        if (now_us >= worker->start_at_us)
            start(crew, worker, now_us);
        if (!worker->pid && worker->start_at_us < due_us)
            due_us = worker->start_at_us;
    }
    return due_us;
}

/* ---- how many ---- */

static void add(struct crew *crew, int number)
{
    struct crew_worker *worker = mem_new(sizeof *worker);

    worker->number = number;
    worker->control_fd = -1;
    crew->list = mem_resize(crew->list, (size_t)(crew->count + 1) * sizeof(struct crew_worker *));
    crew->list[crew->count++] = worker;
}

static void forget(struct crew *crew, int at)
{
    if (crew->list[at]->control_fd >= 0)
        close(crew->list[at]->control_fd);
    mem_free(crew->list[at]);
    crew->list[at] = crew->list[--crew->count];
}

static void retire(struct crew_worker *worker)
{
    worker->is_retired = true;
    if (worker->pid)
        kill(worker->pid, SIGTERM);
}

static void forget_dead(struct crew *crew)
{
    for (int i = crew->count - 1; i >= 0; i--)
        if (crew->list[i]->is_retired && !crew->list[i]->pid)
            forget(crew, i);
}

static bool has_number(const struct crew *crew, int number)
{
    for (int i = 0; i < crew->count; i++)
        if (crew->list[i]->number == number)
            return true;
    return false;
}

static int next_number(const struct crew *crew)
{
    int number = 0;

    while (has_number(crew, number))
        number++;
    return number;
}

void crew_resize(struct crew *crew, int count)
{
    int stay = 0;

    for (int i = 0; i < crew->count; i++) {
        if (crew->list[i]->is_retired)
            continue;
        if (stay < count)
            stay++;
        else
            retire(crew->list[i]);
    }
    forget_dead(crew);
    for (; stay < count; stay++)
        add(crew, next_number(crew)); /* one that still drains keeps its own */
}

void crew_fini(struct crew *crew)
{
    while (crew->count)
        forget(crew, crew->count - 1);
    mem_free(crew->list);
}

/* ---- ending ---- */

static void log_death(const struct crew_worker *worker, int status)
{
    struct log_line line = log_begin(LOG_ERROR, "worker_died");

    log_int(&line, "worker", worker->number);
    log_int(&line, "pid", worker->pid);
    if (WIFSIGNALED(status))
        log_int(&line, "signal", WTERMSIG(status));
    else
        log_int(&line, "status", WEXITSTATUS(status));
    log_int(&line, "restart_ms", worker->backoff_ms);
    log_end(&line);
}

static void bury(struct crew *crew, struct crew_worker *worker, int status)
{
    int64_t now_us = loop_now_us();
    bool was_stable = now_us - worker->started_us > (int64_t)STABLE_MS * 1000;

    if (crew->is_stopping) {
        if (!WIFEXITED(status) || WEXITSTATUS(status))
            crew->failed = true;
    } else if (!worker->is_retired) {
        worker->backoff_ms =
            was_stable || !worker->backoff_ms ? BACKOFF_FIRST_MS : worker->backoff_ms * 2;
        if (worker->backoff_ms > BACKOFF_MAX_MS)
            worker->backoff_ms = BACKOFF_MAX_MS;
        worker->start_at_us = now_us + (int64_t)worker->backoff_ms * 1000;
        log_death(worker, status);
    }
    limits_forget(crew->start.limits, worker->number);
    close(worker->control_fd);
    worker->control_fd = -1;
    worker->pid = 0;
    worker->live = 0;
}

struct crew_worker *crew_reap(struct crew *crew, pid_t pid, int status)
{
    for (int i = 0; i < crew->count; i++) {
        struct crew_worker *worker = crew->list[i];
        if (worker->pid != pid)
            continue;
        bury(crew, worker, status);
        if (!worker->is_retired)
            return worker;
        forget(crew, i);
        return NULL;
    }
    return NULL;
}

void crew_signal(const struct crew *crew, int number)
{
    for (int i = 0; i < crew->count; i++)
        if (crew->list[i]->pid)
            kill(crew->list[i]->pid, number);
}

void crew_drain(struct crew *crew)
{
    crew->is_stopping = true;
    for (int i = 0; i < crew->count; i++) /* to one that drains it would mean "at once" */
        if (crew->list[i]->pid && !crew->list[i]->is_retired)
            kill(crew->list[i]->pid, SIGTERM);
}

bool crew_any(const struct crew *crew)
{
    for (int i = 0; i < crew->count; i++)
        if (crew->list[i]->pid)
            return true;
    return false;
}

/* ---- talking ---- */

static bool stays(const struct crew_worker *worker)
{
    return worker->pid && !worker->is_retired;
}

bool crew_all_ready(const struct crew *crew)
{
    for (int i = 0; i < crew->count; i++)
        if (!crew->list[i]->is_retired && !(crew->list[i]->pid && crew->list[i]->is_ready))
            return false;
    return true;
}

bool crew_tell(struct crew *crew, const struct control_message *message, bool waited)
{
    bool all = true;

    for (int i = 0; i < crew->count; i++) {
        struct crew_worker *worker = crew->list[i];
        if (!stays(worker))
            continue;
        worker->is_waited = waited;
        all = control_send(worker->control_fd, message) && all;
    }
    return all;
}

bool crew_waits(const struct crew *crew)
{
    for (int i = 0; i < crew->count; i++)
        if (stays(crew->list[i]) && crew->list[i]->is_waited)
            return true;
    return false;
}

unsigned crew_live(const struct crew *crew)
{
    unsigned most = 0;

    for (int i = 0; i < crew->count; i++)
        if (stays(crew->list[i]) && crew->list[i]->live > most)
            most = crew->list[i]->live;
    return most;
}

static void note(struct crew_worker *worker, const struct control_message *message)
{
    if (message->kind == CONTROL_LOADED && message->serial)
        worker->live++;
    else if (message->kind == CONTROL_LOADED)
        worker->is_ready = true;
    else if (message->kind == CONTROL_FREED && worker->live)
        worker->live--;
}

void crew_hear(struct crew *crew,
               void (*said)(void *arg, struct crew_worker *worker, struct control_message *message),
               void *arg)
{
    struct control_message message;

    for (int i = 0; i < crew->count; i++) {
        struct crew_worker *worker = crew->list[i];
        while (worker->control_fd >= 0 &&
               control_receive(worker->control_fd, &message) == CONTROL_MESSAGE) {
            control_close(&message); /* a worker sends none */
            note(worker, &message);
            said(arg, worker, &message);
        }
    }
}

int crew_polls(const struct crew *crew, struct pollfd *polls)
{
    int count = 0;

    for (int i = 0; i < crew->count; i++)
        if (crew->list[i]->control_fd >= 0)
            polls[count++] = (struct pollfd){.fd = crew->list[i]->control_fd, .events = POLLIN};
    return count;
}
