/* crew.h -- the workers, as the master keeps them: started, heard, told, ended, replaced.
 *
 * It knows of a version of weir.lua only what a worker that starts now is to be
 * given. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "worker/control.h"
#include <poll.h>
#include <stdint.h>
#include <sys/types.h>

struct budget;
struct canary;
struct keys;
struct limits;
struct rings;

struct crew_worker {
    pid_t pid; /* 0: is not running */
    int number;
    int control_fd;
    unsigned live;   /* generations that it has */
    bool is_ready;   /* it has said so */
    bool is_waited;  /* for its answer to a load */
    bool is_retired; /* drains, and is not replaced */
    int64_t started_us;
    int64_t start_at_us; /* when to start it again */
    int backoff_ms;
};

struct crew_start { /* what a worker starts with; all borrowed */
    const char *config_path;
    struct limits *limits;
    unsigned generation;
    int snapshot_fd, listen_fd;
    unsigned tried; /* a generation that serves some; its snapshot, or -1 */
    int tried_fd;
    struct canary *canary;
    struct keys *keys;
    struct budget *budget;
    struct rings *rings;  /* from workers to the clerk */
    const char *journals; /* the folder of what workers owe the ledger */
    const char *refused;
};

struct crew {
    struct crew_start start;
    struct crew_worker **list;
    int count; /* of list, the retired among them */
    bool is_stopping;
    bool failed; /* one ended badly while stopping */
};

void crew_fini(struct crew *crew);

/* How many are to run: more are started by crew_turn, those too many drain. */
void crew_resize(struct crew *crew, int count);

/* Starts those that are due; gives when it is to be called again (monotonic). */
int64_t crew_turn(struct crew *crew, int64_t now_us);

/* A child ended.  The worker it was, already buried; NULL: it was none.  is_waited still says
 * whether its answer was waited for. */
struct crew_worker *crew_reap(struct crew *crew, pid_t pid, int status);

/* The first stops accepting; the retired do so already. */
void crew_drain(struct crew *crew);
void crew_signal(const struct crew *crew, int number);
bool crew_any(const struct crew *crew);
bool crew_all_ready(const struct crew *crew); /* those that are to stay */

/* To all that run and stay; false when one did not take it.  With waited set their answers are. */
bool crew_tell(struct crew *crew, const struct control_message *message, bool waited);
bool crew_waits(const struct crew *crew);    /* for an answer */
unsigned crew_live(const struct crew *crew); /* the most generations that one of those has */

/* What workers said: calls back for each message, after noting what it says of the worker. */
void crew_hear(struct crew *crew,
               void (*said)(void *arg, struct crew_worker *worker, struct control_message *message),
               void *arg);

/* Adds what to poll for; gives how many. */
int crew_polls(const struct crew *crew, struct pollfd *polls);
