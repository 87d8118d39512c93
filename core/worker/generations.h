/* generations.h -- the generations that one worker has, as the master says.
 *
 * One serves the requests that begin now.  Another may be loaded beside it and
 * waits for the master's word: all workers switch, or none.  Older ones live
 * as long as requests that began with them. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"

struct event_base;
struct generation;
struct generations;
struct limits;

struct generations_settings {
    struct event_base *base;
    const char *config_path; /* borrowed for good, like limits */
    struct limits *limits;
    int control_fd; /* taken */
    /* A new generation serves from now on; the callee owns it.  listen_fd: a new listening socket,
     * the callee's too, or -1. */
    void (*on_switch)(void *arg, struct generation *generation, int listen_fd);
    void *arg;
};

/* Loads the first generation from a snapshot, whose fd is taken.  NULL: problems say why. */
struct generations *generations_new(const struct generations_settings *settings, unsigned number,
                                    int snapshot_fd, struct generation **first,
                                    struct buf *problems);

/* Loads another beside it that is tried, as the other workers have it; fd is taken. */
void generations_try(struct generations *generations, unsigned number, int snapshot_fd);

/* The one that is tried, or NULL.  Borrowed. */
struct generation *generations_tried(const struct generations *generations);

/* Tells the master that this worker is ready, and listens to it. */
void generations_start(struct generations *generations);

/* The state that serves is spent: loads the same anew, and switches to it. */
void generations_renew(struct generations *generations, unsigned number);

/* Why the last reload was refused; NULL: it was not.  Borrowed. */
const char *generations_refused(const struct generations *generations);
void generations_refuse(struct generations *generations, const char *why);

void generations_free(struct generations *generations);
