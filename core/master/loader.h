/* loader.h -- how a version of weir.lua is loaded by a child, for the master.
 *
 * The master runs no Lua.  A child of it loads the configuration, proves it
 * whole, and leaves behind what it read (the snapshot, from which every worker
 * then loads) and what the master itself has to know. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "accounts/ring.h"
#include "doors.h"
#include "leaves/buf.h"
#include "leaves/log.h"
#include <stdint.h>
#include <sys/types.h>

struct generation;
struct limits;
struct loader;
struct sources;

struct version { /* a version of weir.lua, as the master has it */
    unsigned number;
    bool is_sound;
    int fd;              /* the snapshot: in memory, sealed; also of one that is not sound */
    struct buf problems; /* a line each, when it is not */
    /* of a sound one: */
    char host[256];
    int port;
    int workers;     /* as many as are to run */
    int specs;       /* of its policies, that passed */
    bool has_canary; /* serves part of the traffic first: */
    int canary_requests;
    int64_t canary_ms;
    bool has_keys;
    int64_t tls_ends;        /* Unix time; 0: no TLS */
    bool has_ledger;         /* keys = "ledger", */
    char timezone[64];       /* and where its days begin */
    struct rings_rule store; /* of texts */
    bool watches;            /* a changed file is a reload */
    enum log_level log_level;
    enum log_format log_format;
    struct doors_plan doors;
    char limits[256]; /* path of the file that keeps them over a restart */
    struct buf shown; /* its settings as JSON, without secrets */
    char data[256];   /* the folder of the ledger */
    int64_t since_us;
};

/* Begins to load in a child, and to run the specs that policy.check names; the master waits for its
 * end, which comes in the time that these have.  NULL when there is no child. */
struct loader *loader_start(const char *path, struct limits *limits);
pid_t loader_pid(const struct loader *loader);
void loader_cancel(struct loader *loader); /* kills it; it is still to be waited for */

/* The child ended, with this status of waitpid; frees the loader. */
struct version *loader_finish(struct loader *loader, int status);

/* All of it, waiting.  NULL when there is no child: errno says why. */
struct version *loader_run(const char *path, struct limits *limits);

/* A copy that the caller owns, to serve once more; fd is a duplicate. */
struct version *version_dup(const struct version *version);
void version_free(struct version *version); /* accepts NULL */
