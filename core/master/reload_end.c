/* reload_end.c -- how a reload comes out: refused, switched to, tried first; and how a trial does.
 */
/* SPDX-License-Identifier: MIT */
#include "doors.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "limits/limit.h"
#include "listener.h"
#include "metrics/metrics.h"
#include "policy/sources.h"
#include "reload_own.h"
#include <stdio.h>
#include <unistd.h>

enum {
    PROBLEMS_LOGGED = 8,
    CERTIFICATE_S = 7 * 86400, /* renewals come weeks before the end: theirs has failed */
};

static const char *const causes[] = {"signal", "change", "command", "rollback", "canary"};

int reload_close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
    return -1;
}

void reload_finish(struct reload *reload)
{
    reload->state = IDLE;
    reload->done = reload->begun;
    version_free(reload->next);
    reload->next = NULL;
    reload->next_listen_fd = reload_close_fd(reload->next_listen_fd);
    doors_drop(reload->doors);
    if (reload->stopped)
        return;
    reload_set_watch(reload);
    if (reload->watch && reload->disk && sources_changed(reload->disk))
        reload_note_change(reload, loop_now_us());
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

/* The problems of the last one are why what was read is not in force; none: it is. */
static void say_refused(struct reload *reload)
{
    struct buf text = {0};
    struct control_message message = {.kind = CONTROL_REFUSED};

    buf_clear(&reload->refusal);
    buf_add(&reload->refusal, buf_slice(&reload->problems));
    struct slice rest = buf_slice(&reload->refusal);
    log_redact(&text, next_line(&rest));
    snprintf(reload->refused, sizeof reload->refused, "%.*s", (int)text.len,
             text.len ? text.ptr : "");
    buf_free(&text);
    memcpy(message.text, reload->refused, sizeof message.text);
    reload->crew->start.refused = reload->refused;
    if (!crew_tell(reload->crew, &message, false))
        return; /* one that does not hear has died */
}

static void log_refused(const struct reload *reload)
{
    struct slice rest = buf_slice(&reload->problems);

    for (int i = 0; i < PROBLEMS_LOGGED && rest.len; i++) {
        struct log_line line = log_begin(
            LOG_ERROR, reload->cause == RELOAD_ROLLBACK ? "rollback_refused" : "reload_refused");
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

/* The problems are there; what serves goes on serving.  What the disk holds is in force, or not,
 * as before a rollback. */
void reload_refuse(struct reload *reload)
{
    bool is_rollback = reload->cause == RELOAD_ROLLBACK;

    if (reload->state == TELLING &&
        !crew_tell(reload->crew, &(struct control_message){.kind = CONTROL_DROP}, false))
        buf_add_text(&reload->problems, "a worker does not listen\n");
    if (!is_rollback)
        say_refused(reload);
    count_reload(reload, is_rollback ? "rollback_refused" : "refused");
    log_refused(reload); /* whoever reads it finds the workers told */
    reload_finish(reload);
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

void reload_warn_no_keys(const struct version *version)
{
    if (version->has_keys)
        return;
    struct log_line line = log_begin(LOG_WARN, "no_keys");
    log_str(&line, "message", "anybody on this machine may use the gateway: keys is not set");
    log_end(&line);
}

void reload_warn_certificate(const struct version *version)
{
    double left_s = (double)version->tls_ends - loop_wall_seconds();

    if (!version->tls_ends || left_s > CERTIFICATE_S)
        return;
    struct log_line line = log_begin(left_s > 0 ? LOG_WARN : LOG_ERROR, "certificate_ends");
    log_int(&line, "hours", (int64_t)(left_s / 3600));
    log_str(&line, "message",
            left_s > 0 ? "the certificate of tls.cert ends soon"
                       : "the certificate of tls.cert has ended: clients that look refuse it");
    log_end(&line);
}

/* What workers that start from now on are given. */
void reload_set_start(struct reload *reload)
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
    reload_close_fd(reload->listen_fd);
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
    reload_set_start(reload);
    crew_resize(reload->crew, reload->current->workers);
    buf_clear(&reload->problems);
    say_refused(reload);
    count_reload(reload, "ok");
    log_switched(reload);
    reload_warn_certificate(reload->current);
    if (had_keys)
        reload_warn_no_keys(reload->current);
    reload_finish(reload);
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
    reload_close_fd(listen_fd);
    reload_set_start(reload);
}

void reload_switch_all(struct reload *reload)
{
    end_trial(reload, LOG_INFO, "canary_replaced"); /* the switch ends it in the workers, too */
    say(reload, (struct control_message){.kind = CONTROL_SWITCH, .number = reload->next->number});
    take_next(reload);
}

void reload_try_out(struct reload *reload)
{
    end_trial(reload, LOG_INFO, "canary_replaced");
    say(reload, (struct control_message){.kind = CONTROL_TRY, .number = reload->next->number});
    reload->last = reload->next->number;
    trial_begin(reload->trial, reload->current->number, reload->next, reload->next_listen_fd);
    reload->next = NULL;
    reload->next_listen_fd = -1;
    reload_set_start(reload);
    buf_clear(&reload->problems);
    log_canary(reload, LOG_INFO, "canary_started");
    say_refused(reload);
    reload_finish(reload);
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
void reload_take_back(struct reload *reload, bool is_bad)
{
    buf_clear(&reload->problems);
    if (is_bad) {
        buf_add_text(&reload->problems, "rolled back: ");
        trial_describe(reload->trial, &reload->problems, false);
        buf_add_char(&reload->problems, '\n');
    }
    say(reload, (struct control_message){.kind = CONTROL_END});
    say_refused(reload);
    count_reload(reload, "rolled_back");
    end_trial(reload, is_bad ? LOG_ERROR : LOG_INFO, "canary_rolled_back");
}

void reload_look_at_trial(struct reload *reload, int64_t now_us)
{
    switch (trial_look(reload->trial, now_us)) {
    case CANARY_GOES_ON: return;
    case CANARY_IS_GOOD: promote(reload); return;
    case CANARY_IS_BAD: reload_take_back(reload, true); return;
    }
}
