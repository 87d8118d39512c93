/* reload.c -- the master's part of a reload.
 *
 *            begin               on_loaded             all have it
 *   IDLE ------------> LOADING ------------> TELLING ---------------> IDLE, switched or tried
 *                         |                     |
 *                         | it has errors       | one could not
 *                         +---------------------+-------------------> IDLE, refused
 *
 * IDLE    -> LOADING  [begin]      asked, and no worker has four generations
 * IDLE    -> TELLING  [begin]      a rollback: its snapshot is here
 * LOADING -> TELLING  [on_loaded]  the child could load it; workers shall
 * LOADING -> IDLE     [refuse]     it has errors, took too long, or fails its own specs
 * TELLING -> IDLE     [try_out]    every worker has it, and it shall serve some first: a canary
 * TELLING -> IDLE     [switch_all] every worker has it beside the one that serves
 * TELLING -> IDLE     [refuse]     one has not: all drop it
 *
 * A trial goes on through all of these, until it is promoted, rolled back, or another version
 * takes its place.
 *
 * Files that change are looked at once nothing has happened to them for a
 * while; the version on the disk is only loaded when its bytes differ. */
/* SPDX-License-Identifier: MIT */
#include "doors.h"
#include "leaves/exit_code.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "limits/limit.h"
#include "listener.h"
#include "loader.h"
#include "policy/sources.h"
#include "reload_own.h"
#include "supervisor.h"
#include "watch.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    LIVE_MAX = 4,           /* generations in one worker */
    QUIET_US = 200 * 1000,  /* files are looked at when nothing happened for so long, */
    QUIET_MAX_US = 1000000, /* or this long after the first event */
    LOOK_AT_TRIAL_US = 100 * 1000,
    TELL_US = 10 * 1000000, /* for the workers to */
};

struct reload *reload_new(const char *config_path, struct limits *limits, struct crew *crew,
                          struct doors *doors)
{
    struct reload *reload = mem_new(sizeof *reload);

    reload->config_path = config_path;
    reload->limits = limits;
    reload->crew = crew;
    reload->doors = doors;
    reload->trial = trial_new(crew->start.canary);
    reload->listen_fd = reload->next_listen_fd = -1;
    return reload;
}

/* ---- watching ---- */

/* After something was read: what it was read from is watched.  What changed between the reading
 * and the watching is seen by looking once more. */
void reload_set_watch(struct reload *reload)
{
    struct sources *serving = sources_open(reload->current->fd);

    if (reload->current->watches && !reload->watch)
        reload->watch = watch_new();
    if (!reload->current->watches) {
        watch_free(reload->watch);
        reload->watch = NULL;
        reload->look_us = 0;
    } else if (reload->watch) {
        watch_set(reload->watch, serving, reload->disk);
    }
    sources_free(serving);
}

void reload_note_change(struct reload *reload, int64_t now_us)
{
    if (!reload->look_us)
        reload->changed_us = now_us;
    reload->look_us = now_us + QUIET_US;
    if (reload->look_us > reload->changed_us + QUIET_MAX_US)
        reload->look_us = reload->changed_us + QUIET_MAX_US;
}

static void look(struct reload *reload)
{
    reload->look_us = 0;
    reload_set_watch(reload); /* a file that was renamed over is another file */
    if (reload->disk && sources_changed(reload->disk))
        reload_ask(reload, RELOAD_CHANGE);
}

int reload_poll_fd(const struct reload *reload)
{
    return reload->watch ? watch_fd(reload->watch) : -1;
}

/* ---- the workers load it ---- */

/* config.lua looks at listen; a socket that systemd opened may be somewhere else. */
static bool may_listen(int fd, const struct version *version, struct buf *problems)
{
    if (version->has_keys || listener_is_loopback(fd))
        return true;
    buf_add_text(problems, "without keys the gateway listens on loopback only: the socket that "
                           "systemd opened is reached from other machines\n");
    return false;
}

static bool open_next_listener(struct reload *reload)
{
    const struct version *now = reload->current, *next = reload->next;

    if (reload->is_given || (strcmp(now->host, next->host) == 0 && now->port == next->port))
        return may_listen(reload->listen_fd, next, &reload->problems);
    reload->next_listen_fd =
        listener_open_beside(reload->listen_fd, next->host, next->port, &reload->problems);
    if (reload->next_listen_fd >= 0)
        return true;
    buf_add_char(&reload->problems, '\n');
    return false;
}

/* What has served before needs no trial. */
static bool is_canary(const struct reload *reload)
{
    return reload->next->has_canary && reload->cause != RELOAD_ROLLBACK;
}

static void settle(struct reload *reload)
{
    if (reload->state == TELLING && reload->problems.len)
        reload_refuse(reload);
    else if (reload->state == TELLING && !crew_waits(reload->crew) && is_canary(reload))
        reload_try_out(reload);
    else if (reload->state == TELLING && !crew_waits(reload->crew))
        reload_switch_all(reload);
}

static void tell(struct reload *reload)
{
    struct control_message message = {
        .kind = CONTROL_LOAD,
        .serial = ++reload->serial,
        .number = reload->last + 1,
        .fds = {reload->next->fd, 0},
        .fd_count = 1,
    };

    reload->next->number = message.number;
    if (!open_next_listener(reload) ||
        !doors_prepare(reload->doors, &reload->next->doors, &reload->problems)) {
        reload_refuse(reload);
        return;
    }
    if (reload->next_listen_fd >= 0)
        message.fds[message.fd_count++] = reload->next_listen_fd;
    reload->state = TELLING;
    reload->deadline_us = loop_now_us() + TELL_US;
    if (!crew_tell(reload->crew, &message, true))
        buf_add_text(&reload->problems, "a worker does not listen\n");
    settle(reload);
}

void reload_hear(void *arg, struct crew_worker *worker, struct control_message *message)
{
    struct reload *reload = arg;

    if (reload->state != TELLING || message->serial != reload->serial)
        return;
    worker->is_waited = false;
    if (message->kind == CONTROL_FAILED)
        buf_add_format(&reload->problems, "worker %d could not load it: %s\n", worker->number,
                       message->text);
    settle(reload);
}

void reload_bury(struct reload *reload, const struct crew_worker *worker)
{
    if (reload->state == TELLING && worker->is_waited)
        buf_add_format(&reload->problems, "worker %d died while it loaded it\n", worker->number);
    settle(reload);
}

/* ---- a child loads it ---- */

static void on_loaded(struct reload *reload, struct version *version)
{
    reload->next = version;
    sources_free(reload->disk);
    reload->disk = sources_open(version->fd);
    if (version->is_sound) {
        tell(reload);
        return;
    }
    buf_add(&reload->problems, buf_slice(&version->problems));
    reload_refuse(reload);
}

bool reload_reap(struct reload *reload, pid_t pid, int status)
{
    if (!reload->loader || loader_pid(reload->loader) != pid)
        return false;
    struct version *version = loader_finish(reload->loader, status);
    reload->loader = NULL;
    if (reload->stopped)
        version_free(version);
    else
        on_loaded(reload, version);
    return true;
}

static void begin(struct reload *reload)
{
    reload->asked = reload->said_waiting = false;
    reload->cause = reload->cause_asked;
    reload->begun = reload->tickets;
    reload->begun_us = loop_now_us();
    buf_clear(&reload->problems);
    if (reload->cause == RELOAD_ROLLBACK && trial_is_on(reload->trial)) {
        reload_take_back(reload, false);
        reload_finish(reload);
    } else if (reload->cause == RELOAD_ROLLBACK && reload->previous) {
        reload->next = version_dup(reload->previous);
        tell(reload);
    } else if (reload->cause == RELOAD_ROLLBACK) {
        buf_add_text(&reload->problems, "there is no version before this one\n");
        reload_refuse(reload);
    } else if ((reload->loader = loader_start(reload->config_path, reload->limits))) {
        reload->state = LOADING;
        reload->deadline_us = INT64_MAX; /* the child has an alarm */
    } else {
        buf_add_format(&reload->problems, "cannot load: %s\n", strerror(errno));
        reload_refuse(reload);
    }
}

/* ---- asking ---- */

unsigned reload_ask(struct reload *reload, enum reload_cause cause)
{
    reload->tickets++;
    reload->asked = true;
    reload->cause_asked = cause;
    return reload->tickets;
}

bool reload_is_done(const struct reload *reload, unsigned ticket)
{
    return reload->stopped || reload->done >= ticket;
}

bool reload_is_refused(const struct reload *reload)
{
    return reload->problems.len > 0;
}

struct slice reload_problems(const struct reload *reload)
{
    return buf_slice(&reload->problems);
}

struct slice reload_refusal(const struct reload *reload)
{
    return buf_slice(&reload->refusal);
}

const struct trial *reload_trial(const struct reload *reload)
{
    return reload->trial;
}

bool reload_is_waiting(const struct reload *reload)
{
    return reload->asked && reload->said_waiting;
}

/* Every worker keeps room for the one that comes. */
static bool has_room(struct reload *reload)
{
    if (crew_live(reload->crew) < LIVE_MAX)
        return true;
    if (!reload->said_waiting) {
        struct log_line line = log_begin(LOG_WARN, "reload_waits");
        log_int(&line, "generations", crew_live(reload->crew));
        log_str(&line, "message", "older generations still serve requests");
        log_end(&line);
    }
    reload->said_waiting = true;
    return false;
}

/* ---- the master's loop ---- */

static void give_up(struct reload *reload)
{
    reload->deadline_us = INT64_MAX;
    buf_add_text(&reload->problems, "a worker took too long to load it\n");
    reload_refuse(reload);
}

int64_t reload_turn(struct reload *reload, int64_t now_us)
{
    if (reload->stopped)
        return INT64_MAX;
    if (reload->watch && watch_take(reload->watch))
        reload_note_change(reload, now_us);
    if (reload->state == IDLE && reload->look_us && now_us >= reload->look_us)
        look(reload);
    if (reload->state == IDLE && trial_is_on(reload->trial))
        reload_look_at_trial(reload, now_us);
    if (reload->state == IDLE && reload->asked && has_room(reload))
        begin(reload);
    if (reload->state != IDLE && now_us >= reload->deadline_us)
        give_up(reload);
    if (reload->state != IDLE)
        return reload->deadline_us;
    int64_t due_us = reload->look_us ? reload->look_us : INT64_MAX;
    if (trial_is_on(reload->trial) && now_us + LOOK_AT_TRIAL_US < due_us)
        due_us = now_us + LOOK_AT_TRIAL_US;
    return due_us;
}

bool reload_is_telling(const struct reload *reload)
{
    return reload->state == TELLING;
}

const struct version *reload_current(const struct reload *reload)
{
    return reload->current;
}

const struct version *reload_previous(const struct reload *reload)
{
    return reload->previous;
}

int reload_listener(const struct reload *reload)
{
    return reload->listen_fd;
}

/* ---- the beginning and the end ---- */

/* systemd's socket, where it opened one; else what listen says. */
static int first_listener(struct reload *reload, struct buf *problem)
{
    const struct version *version = reload->current;
    int fd = supervisor_take_listener(problem);

    reload->is_given = fd >= 0;
    if (fd >= 0 && may_listen(fd, version, problem))
        return fd;
    return problem->len ? reload_close_fd(fd)
                        : listener_open(version->host, version->port, problem);
}

int reload_first(struct reload *reload)
{
    struct buf problem = {0};

    reload->current = loader_run(reload->config_path, reload->limits);
    if (!reload->current) {
        fprintf(stderr, "weir: cannot load %s: %s\n", reload->config_path, strerror(errno));
        return EXIT_FAILED;
    }
    if (!reload->current->is_sound) {
        struct slice problems = buf_slice(&reload->current->problems);
        fprintf(stderr, "%.*s", (int)problems.len, problems.ptr);
        return EXIT_CONFIG;
    }
    reload->current->number = reload->last = 1;
    reload->disk = sources_open(reload->current->fd);
    log_open(STDERR_FILENO, reload->current->log_level, reload->current->log_format);
    reload->listen_fd = first_listener(reload, &problem);
    if (reload->listen_fd < 0)
        fprintf(stderr, "weir: %.*s\n", (int)problem.len, problem.ptr);
    buf_free(&problem);
    if (reload->listen_fd < 0)
        return EXIT_FAILED;
    reload_warn_no_keys(reload->current);
    reload_warn_certificate(reload->current);
    reload_set_start(reload);
    crew_resize(reload->crew, reload->current->workers);
    reload_set_watch(reload);
    return EXIT_OK;
}

void reload_stop(struct reload *reload)
{
    if (reload->stopped)
        return;
    reload->stopped = true;
    reload->listen_fd = reload_close_fd(reload->listen_fd);
    if (reload->loader)
        loader_cancel(reload->loader);
    buf_add_text(&reload->problems, "the gateway is stopping\n");
    settle(reload);
}

void reload_free(struct reload *reload)
{
    if (reload->loader) {
        int status;
        waitpid(loader_pid(reload->loader), &status, 0);
        version_free(loader_finish(reload->loader, status));
    }
    trial_free(reload->trial);
    version_free(reload->current);
    version_free(reload->previous);
    version_free(reload->next);
    sources_free(reload->disk);
    watch_free(reload->watch);
    buf_free(&reload->problems);
    buf_free(&reload->refusal);
    reload_close_fd(reload->listen_fd);
    mem_free(reload);
}
