/* generations.c -- loads, switches and drops as the master says.
 *
 *   CONTROL_LOAD    load beside the one that serves; answer LOADED or FAILED
 *   CONTROL_SWITCH  what was loaded serves; what served goes with its last request
 *   CONTROL_DROP    another worker could not load it: forget it
 *   CONTROL_TRY     what was loaded serves some; what was tried before goes
 *   CONTROL_PROMOTE what is tried serves
 *   CONTROL_END     what is tried goes */
/* SPDX-License-Identifier: MIT */
#include "generations.h"
#include "control.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "policy/policy.h"
#include "policy/sources.h"
#include "serving.h"
#include <event2/event.h>
#include <event2/event_struct.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static const int64_t RENEW_US = 1000 * 1000; /* between two renewals */

struct generations {
    struct generations_settings settings;
    struct event control;
    int snapshot_fd; /* of what serves */
    int next_snapshot_fd;
    struct generation *next; /* loaded, and waits for the word */
    int next_listen_fd;
    struct generation *tried; /* serves some */
    int tried_snapshot_fd, tried_listen_fd;
    int64_t renewed_us;
    char *refused;
};

static void on_control(evutil_socket_t fd, short what, void *arg);

static int close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
    return -1;
}

static struct generation *load(struct generations *generations, unsigned number, int snapshot_fd,
                               struct buf *problems)
{
    const struct generations_settings *settings = &generations->settings;
    struct sources *sources = sources_open(snapshot_fd);

    if (!sources) {
        buf_add_text(problems, "the snapshot cannot be read\n");
        return NULL;
    }
    struct generation *generation =
        serving_load(settings->config_path, number, settings->limits, sources, problems);
    sources_free(sources);
    return generation;
}

/* ---- to the master ---- */

static void tell(const struct generations *generations, struct control_message message)
{
    /* A master that does not listen is gone, and this worker told to drain. */
    if (!control_send(generations->settings.control_fd, &message))
        return;
}

static void on_freed(void *arg, struct generation *generation)
{
    const struct generations *generations = arg;

    serving_unload(generation);
    tell(generations,
         (struct control_message){.kind = CONTROL_FREED, .number = generation_number(generation)});
}

/* ---- from the master ---- */

static void drop(struct generations *generations)
{
    generation_free(generations->next);
    generations->next = NULL;
    generations->next_listen_fd = close_fd(generations->next_listen_fd);
    generations->next_snapshot_fd = close_fd(generations->next_snapshot_fd);
}

static void end_trial(struct generations *generations)
{
    generation_free(generations->tried);
    generations->tried = NULL;
    generations->tried_listen_fd = close_fd(generations->tried_listen_fd);
    generations->tried_snapshot_fd = close_fd(generations->tried_snapshot_fd);
}

static void on_load(struct generations *generations, struct control_message *message)
{
    struct control_message answer = {.serial = message->serial, .number = message->number};
    struct buf problems = {0};

    drop(generations);
    if (message->fd_count > 1)
        generations->next_listen_fd = message->fds[1];
    if (message->fd_count) {
        generations->next_snapshot_fd = message->fds[0];
        generations->next = load(generations, message->number, message->fds[0], &problems);
    }
    answer.kind = generations->next ? CONTROL_LOADED : CONTROL_FAILED;
    snprintf(answer.text, sizeof answer.text, "%.*s", (int)problems.len, buf_slice(&problems).ptr);
    buf_free(&problems);
    if (generations->next)
        generation_on_free(generations->next, on_freed, generations);
    tell(generations, answer);
}

/* What was loaded is tried. */
static void on_try(struct generations *generations)
{
    if (!generations->next)
        return;
    end_trial(generations);
    generations->tried = generations->next;
    generations->tried_listen_fd = generations->next_listen_fd;
    generations->tried_snapshot_fd = generations->next_snapshot_fd;
    generations->next = NULL;
    generations->next_listen_fd = generations->next_snapshot_fd = -1;
}

/* What is tried serves. */
static void take_tried(struct generations *generations)
{
    struct generation *generation = generations->tried;
    int listen_fd = generations->tried_listen_fd;

    close_fd(generations->snapshot_fd);
    generations->snapshot_fd = generations->tried_snapshot_fd;
    generations->tried = NULL;
    generations->tried_listen_fd = generations->tried_snapshot_fd = -1;
    generations->settings.on_switch(generations->settings.arg, generation, listen_fd);
}

/* Without going by way of a trial, of which none can be on any more. */
static void on_switch(struct generations *generations)
{
    if (!generations->next)
        return;
    on_try(generations);
    take_tried(generations);
}

static void on_promote(struct generations *generations, struct control_message *message)
{
    if (!generations->tried && message->fd_count) {
        generations_try(generations, message->number, message->fds[0]);
        message->fd_count = 0;
    }
    control_close(message);
    if (generations->tried)
        take_tried(generations);
    else
        raise(SIGTERM); /* it cannot be loaded: another worker is to take this one's place */
}

static void on_message(struct generations *generations, struct control_message *message)
{
    switch (message->kind) {
    case CONTROL_LOAD: on_load(generations, message); return;
    case CONTROL_SWITCH: on_switch(generations); return;
    case CONTROL_DROP: drop(generations); return;
    case CONTROL_TRY: on_try(generations); return;
    case CONTROL_PROMOTE: on_promote(generations, message); return;
    case CONTROL_END: end_trial(generations); return;
    case CONTROL_REFUSED: generations_refuse(generations, message->text); return;
    case CONTROL_LOADED:
    case CONTROL_FAILED:
    case CONTROL_FREED: return; /* ours to say */
    }
}

static void on_control(evutil_socket_t fd, short what, void *arg)
{
    struct generations *generations = arg;
    struct control_message message;
    enum control_read came;

    while ((came = control_receive((int)fd, &message)) == CONTROL_MESSAGE)
        on_message(generations, &message);
    if (came == CONTROL_CLOSED)
        event_del(&generations->control);
}

/* ---- a state that is spent ---- */

void generations_renew(struct generations *generations, unsigned number)
{
    int64_t now_us = loop_now_us();
    struct buf problems = {0};

    if (now_us - generations->renewed_us < RENEW_US)
        return; /* what fills a state that fast shall not keep the worker loading */
    generations->renewed_us = now_us;
    struct generation *generation = load(generations, number, generations->snapshot_fd, &problems);
    struct log_line line = log_begin(LOG_WARN, "generation_renewed");
    log_int(&line, "generation", number);
    log_str(&line, "message", "its Lua state was full");
    log_text(&line, "problem", buf_slice(&problems));
    log_end(&line);
    buf_free(&problems);
    if (!generation)
        return;
    generation_on_free(generation, on_freed, generations);
    tell(generations,
         (struct control_message){.kind = CONTROL_LOADED, .serial = UINT_MAX, .number = number});
    generations->settings.on_switch(generations->settings.arg, generation, -1);
}

/* ---- the whole ---- */

struct generations *generations_new(const struct generations_settings *settings, unsigned number,
                                    int snapshot_fd, struct generation **first,
                                    struct buf *problems)
{
    struct generations *generations = mem_new(sizeof *generations);

    generations->settings = *settings;
    generations->next_listen_fd = generations->next_snapshot_fd = -1;
    generations->tried_listen_fd = generations->tried_snapshot_fd = -1;
    generations->snapshot_fd = snapshot_fd;
    event_assign(&generations->control, settings->base, settings->control_fd, EV_READ | EV_PERSIST,
                 on_control, generations);
    *first = load(generations, number, snapshot_fd, problems);
    if (*first) {
        generation_on_free(*first, on_freed, generations);
        return generations;
    }
    generations_free(generations);
    return NULL;
}

void generations_try(struct generations *generations, unsigned number, int snapshot_fd)
{
    struct buf problems = {0};
    struct generation *generation = load(generations, number, snapshot_fd, &problems);

    end_trial(generations);
    if (generation) {
        generation_on_free(generation, on_freed, generations);
        generations->tried = generation;
        generations->tried_snapshot_fd = snapshot_fd;
        tell(generations, (struct control_message){
                              .kind = CONTROL_LOADED, .serial = UINT_MAX, .number = number});
    } else {
        struct log_line line = log_begin(LOG_ERROR, "canary_not_loaded");
        log_int(&line, "generation", number);
        log_text(&line, "problem", buf_slice(&problems));
        log_end(&line);
        close(snapshot_fd);
    }
    buf_free(&problems);
}

struct generation *generations_tried(const struct generations *generations)
{
    return generations->tried;
}

void generations_start(struct generations *generations)
{
    tell(generations, (struct control_message){.kind = CONTROL_LOADED});
    event_add(&generations->control, NULL);
}

const char *generations_refused(const struct generations *generations)
{
    return generations->refused;
}

void generations_refuse(struct generations *generations, const char *why)
{
    mem_free(generations->refused);
    generations->refused = why && *why ? mem_dup(slice_of(why)) : NULL;
}

void generations_free(struct generations *generations)
{
    drop(generations);
    end_trial(generations);
    event_del(&generations->control);
    close(generations->settings.control_fd);
    close_fd(generations->snapshot_fd);
    mem_free(generations->refused);
    mem_free(generations);
}
