/* worker.h -- one process that serves: a loop, the clients, the providers, its generations. */
/* SPDX-License-Identifier: MIT */
#pragma once

struct budget;
struct canary;
struct keys;
struct limits;
struct rings;

struct worker_settings {
    const char *config_path;
    int number;            /* 0, 1, …: no other that runs has it */
    unsigned generation;   /* its number */
    int snapshot_fd;       /* what it is made of; taken, like the next two */
    int control_fd;        /* to the master */
    int listen_fd;         /* clients */
    const char *refused;   /* why the last reload was refused, or NULL */
    struct limits *limits; /* shared with the others */
    struct canary *canary; /* the same */
    struct keys *keys;     /* and these */
    struct budget *budget;
    struct rings *rings;
    const char *journals; /* the folder of what it owes the ledger */
    unsigned tried;       /* a generation that serves some, */
    int tried_fd;         /* and its snapshot; -1: none */
};

/* Serves until it is told to stop; the process's exit status.  SIGTERM: stop accepting, let
 * streams finish within the drain time; SIGTERM again or SIGQUIT: stop at once. */
int worker_run(const struct worker_settings *settings);
