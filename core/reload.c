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
#include "reload.h"
#include "doors.h"
#include "exit_code.h"
#include "limits.h"
#include "listener.h"
#include "loader.h"
#include "log.h"
#include "loop.h"
#include "mem.h"
#include "metrics.h"
#include "sources.h"
#include "supervisor.h"
#include "trial.h"
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
    PROBLEMS_LOGGED = 8,
};

enum reload_state { IDLE, LOADING, TELLING };

struct reload {
    const char *config_path;
    struct limits *limits;
    struct crew *crew;
    struct doors *doors;
    int listen_fd;
    struct version *current, *previous, *next;
    struct sources *disk; /* what was last read from the disk, sound or not */
    struct watch *watch;  /* NULL: the configuration wants none */
    enum reload_state state;
    enum reload_cause cause, cause_asked; /* of what runs or ran; of what is asked for */
    bool asked, said_waiting;
    unsigned tickets, begun, done; /* given out; answered by the one that runs; answered */
    unsigned serial;
    unsigned last; /* the highest number that ever served */
    struct trial *trial;
    struct loader *loader;
    int next_listen_fd;
    int64_t begun_us, deadline_us;
    int64_t changed_us, look_us; /* first event that was not looked at; when to look; 0: none */
    struct buf problems;         /* of the last one; empty: it went well */
    char refused[CONTROL_TEXT];  /* the first of them, for /readyz */
    bool stopped;
};

static const char *const causes[] = {"signal", "change", "command", "rollback", "canary"};

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

static int close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
    return -1;
}

/* ---- watching ---- */

/* After something was read: what it was read from is watched.  What changed between the reading
 * and the watching is seen by looking once more. */
static void set_watch(struct reload *reload)
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

static void note_change(struct reload *reload, int64_t now_us)
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
    set_watch(reload); /* a file that was renamed over is another file */
    if (reload->disk && sources_changed(reload->disk))
        reload_ask(reload, RELOAD_CHANGE);
}

int reload_poll_fd(const struct reload *reload)
{
    return reload->watch ? watch_fd(reload->watch) : -1;
}

/* ---- how it ends ---- */

static void end(struct reload *reload)
{
    reload->state = IDLE;
    reload->done = reload->begun;
    version_free(reload->next);
    reload->next = NULL;
    reload->next_listen_fd = close_fd(reload->next_listen_fd);
    doors_drop(reload->doors);
    if (reload->stopped)
        return;
    set_watch(reload);
    if (reload->watch && reload->disk && sources_changed(reload->disk))
        note_change(reload, loop_now_us());
}

static void say_refused(struct reload *reload, struct slice first)
{
    struct buf text = {0};
    struct control_message message = {.kind = CONTROL_REFUSED};

    log_redact(&text, first);
    snprintf(reload->refused, sizeof reload->refused, "%.*s", (int)text.len,
             text.len ? text.ptr : "");
    buf_free(&text);
    memcpy(message.text, reload->refused, sizeof message.text);
    reload->crew->start.refused = reload->refused;
    if (!crew_tell(reload->crew, &message, false))
        return; /* one that does not hear has died */
}

static struct slice next_line(struct slice *text)
{
    const char *end = text->len ? memchr(text->ptr, '\n', text->len) : NULL;
    size_t len = end ? (size_t)(end - text->ptr) : text->len;
    struct slice line = {text->ptr, len};

    text->ptr += len + (end != NULL);
    text->len -= len + (end != NULL);
    return line;
}

static void log_refused(const struct reload *reload)
{
    struct slice rest = buf_slice(&reload->problems);

    for (int i = 0; i < PROBLEMS_LOGGED && rest.len; i++) {
        struct log_line line = log_begin(LOG_ERROR, "reload_refused");
        log_str(&line, "cause", causes[reload->cause]);
        log_int(&line, "generation", reload->current->number);
        log_text(&line, "problem", next_line(&rest));
        log_end(&line);
    }
}

static void count_reload(const struct reload *reload, const char *result)
{
    struct buf series = {0};

    buf_add_format(&series, "weir_reloads_total{result=\"%s\"}", result);
    metrics_add(limits_metrics(reload->crew->start.limits), buf_slice(&series), 1);
    buf_free(&series);
}

/* The problems are there; what serves goes on serving. */
static void refuse(struct reload *reload)
{
    struct slice rest = buf_slice(&reload->problems);

    if (reload->state == TELLING &&
        !crew_tell(reload->crew, &(struct control_message){.kind = CONTROL_DROP}, false))
        buf_add_text(&reload->problems, "a worker does not listen\n");
    say_refused(reload, next_line(&rest));
    count_reload(reload, "refused");
    log_refused(reload); /* whoever reads it finds the workers told */
    end(reload);
}

static void log_switched(const struct reload *reload)
{
    struct sources *sources = sources_open(reload->current->fd);
    struct log_line line = log_begin(LOG_INFO, "reloaded");

    log_str(&line, "cause", causes[reload->cause]);
    log_int(&line, "generation", reload->current->number);
    log_int(&line, "files", sources ? (int64_t)sources_count(sources) : 0);
    if (reload->current->specs)
        log_int(&line, "specs", reload->current->specs);
    log_ms(&line, "ms", loop_now_us() - reload->begun_us);
    log_end(&line);
    sources_free(sources);
}

static void warn_no_keys(const struct version *version)
{
    if (version->has_keys)
        return;
    struct log_line line = log_begin(LOG_WARN, "no_keys");
    log_str(&line, "message", "anybody on this machine may use the gateway: keys is not set");
    log_end(&line);
}

/* What workers that start from now on are given. */
static void set_start(struct reload *reload)
{
    struct crew_start *start = &reload->crew->start;
    const struct version *tried = trial_version(reload->trial);

    start->config_path = reload->config_path;
    start->limits = reload->limits;
    start->generation = reload->current->number;
    start->snapshot_fd = reload->current->fd;
    start->listen_fd = reload->listen_fd;
    start->tried = tried ? tried->number : 0;
    start->tried_fd = tried ? tried->fd : -1;
}

static void take_listener(struct reload *reload)
{
    if (reload->next_listen_fd < 0)
        return;
    close_fd(reload->listen_fd);
    reload->listen_fd = reload->next_listen_fd;
    reload->next_listen_fd = -1;
    listener_log(reload->listen_fd, reload->current->workers);
}

/* The workers have been told to serve what is next. */
static void take_next(struct reload *reload)
{
    bool had_keys = reload->current->has_keys;

    version_free(reload->previous);
    reload->previous = reload->current;
    reload->current = reload->next;
    reload->next = NULL;
    reload->current->since_us = loop_now_us();
    reload->last = reload->current->number;
    log_open(STDERR_FILENO, reload->current->log_level, reload->current->log_format);
    take_listener(reload);
    doors_take(reload->doors, &reload->current->doors);
    set_start(reload);
    crew_resize(reload->crew, reload->current->workers);
    buf_clear(&reload->problems);
    say_refused(reload, (struct slice){"", 0});
    count_reload(reload, "ok");
    log_switched(reload);
    if (had_keys)
        warn_no_keys(reload->current);
    end(reload);
}

/* One that has died since it loaded does not hear; what replaces it starts with what is new. */
static void say(struct reload *reload, struct control_message message)
{
    if (!crew_tell(reload->crew, &message, false))
        return;
}

/* ---- a canary ---- */

static void log_canary(const struct reload *reload, enum log_level level, const char *event)
{
    struct buf text = {0};
    struct log_line line = log_begin(level, event);

    trial_describe(reload->trial, &text, false);
    log_int(&line, "generation", trial_version(reload->trial)->number);
    log_int(&line, "beside", reload->current->number);
    log_text(&line, "message", buf_slice(&text));
    log_end(&line);
    buf_free(&text);
}

static void end_trial(struct reload *reload, enum log_level level, const char *event)
{
    int listen_fd;

    if (!trial_is_on(reload->trial))
        return;
    log_canary(reload, level, event);
    version_free(trial_end(reload->trial, &listen_fd));
    close_fd(listen_fd);
    set_start(reload);
}

static void switch_all(struct reload *reload)
{
    end_trial(reload, LOG_INFO, "canary_replaced"); /* the switch ends it in the workers, too */
    say(reload, (struct control_message){.kind = CONTROL_SWITCH, .number = reload->next->number});
    take_next(reload);
}

static void try_out(struct reload *reload)
{
    end_trial(reload, LOG_INFO, "canary_replaced");
    say(reload, (struct control_message){.kind = CONTROL_TRY, .number = reload->next->number});
    reload->last = reload->next->number;
    trial_begin(reload->trial, reload->current->number, reload->next, reload->next_listen_fd);
    reload->next = NULL;
    reload->next_listen_fd = -1;
    set_start(reload);
    buf_clear(&reload->problems);
    log_canary(reload, LOG_INFO, "canary_started");
    say_refused(reload, (struct slice){"", 0});
    end(reload);
}

static void promote(struct reload *reload)
{
    const struct version *tried = trial_version(reload->trial);

    log_canary(reload, LOG_INFO, "canary_promoted");
    say(reload, (struct control_message){.kind = CONTROL_PROMOTE,
                                         .number = tried->number,
                                         .fds = {tried->fd, 0},
                                         .fd_count = 1});
    reload->cause = RELOAD_CANARY;
    reload->begun_us = tried->since_us;
    reload->next = trial_end(reload->trial, &reload->next_listen_fd);
    take_next(reload);
}

/* Nothing else changes: what serves the others serves all again. */
static void take_back(struct reload *reload, bool is_bad)
{
    buf_clear(&reload->problems);
    if (is_bad) {
        buf_add_text(&reload->problems, "rolled back: ");
        trial_describe(reload->trial, &reload->problems, false);
        buf_add_char(&reload->problems, '\n');
    }
    struct slice problems = buf_slice(&reload->problems);
    say(reload, (struct control_message){.kind = CONTROL_END});
    say_refused(reload, next_line(&problems));
    count_reload(reload, "rolled_back");
    end_trial(reload, is_bad ? LOG_ERROR : LOG_INFO, "canary_rolled_back");
}

static void look_at_trial(struct reload *reload, int64_t now_us)
{
    switch (trial_look(reload->trial, now_us)) {
    case CANARY_GOES_ON: return;
    case CANARY_IS_GOOD: promote(reload); return;
    case CANARY_IS_BAD: take_back(reload, true); return;
    }
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

    if (strcmp(now->host, next->host) == 0 && now->port == next->port)
        return may_listen(reload->listen_fd, next, &reload->problems);
    reload->next_listen_fd = listener_open(next->host, next->port, &reload->problems);
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
        refuse(reload);
    else if (reload->state == TELLING && !crew_waits(reload->crew) && is_canary(reload))
        try_out(reload);
    else if (reload->state == TELLING && !crew_waits(reload->crew))
        switch_all(reload);
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
        refuse(reload);
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
    refuse(reload);
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
        take_back(reload, false);
        end(reload);
    } else if (reload->cause == RELOAD_ROLLBACK && reload->previous) {
        reload->next = version_dup(reload->previous);
        tell(reload);
    } else if (reload->cause == RELOAD_ROLLBACK) {
        buf_add_text(&reload->problems, "there is no version before this one\n");
        refuse(reload);
    } else if ((reload->loader = loader_start(reload->config_path, reload->limits))) {
        reload->state = LOADING;
        reload->deadline_us = INT64_MAX; /* the child has an alarm */
    } else {
        buf_add_format(&reload->problems, "cannot load: %s\n", strerror(errno));
        refuse(reload);
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
    refuse(reload);
}

int64_t reload_turn(struct reload *reload, int64_t now_us)
{
    if (reload->stopped)
        return INT64_MAX;
    if (reload->watch && watch_take(reload->watch))
        note_change(reload, now_us);
    if (reload->state == IDLE && reload->look_us && now_us >= reload->look_us)
        look(reload);
    if (reload->state == IDLE && trial_is_on(reload->trial))
        look_at_trial(reload, now_us);
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
static int first_listener(const struct version *version, struct buf *problem)
{
    int fd = supervisor_take_listener(problem);

    if (fd >= 0 && may_listen(fd, version, problem))
        return fd;
    return problem->len ? close_fd(fd) : listener_open(version->host, version->port, problem);
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
    reload->listen_fd = first_listener(reload->current, &problem);
    if (reload->listen_fd < 0)
        fprintf(stderr, "weir: %.*s\n", (int)problem.len, problem.ptr);
    buf_free(&problem);
    if (reload->listen_fd < 0)
        return EXIT_FAILED;
    warn_no_keys(reload->current);
    set_start(reload);
    crew_resize(reload->crew, reload->current->workers);
    set_watch(reload);
    return EXIT_OK;
}

void reload_stop(struct reload *reload)
{
    if (reload->stopped)
        return;
    reload->stopped = true;
    reload->listen_fd = close_fd(reload->listen_fd);
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
    close_fd(reload->listen_fd);
    mem_free(reload);
}
