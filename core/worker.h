/* worker.h -- one process that serves: a loop, the clients, the providers, a generation. */
/* SPDX-License-Identifier: MIT */
#pragma once

struct limits;

struct worker_settings {
    const char *config_path;
    int listen_fd;         /* taken */
    int number;            /* 0, 1, … for the log */
    struct limits *limits; /* shared with the others */
};

/* Serves until it is told to stop; the process's exit status.  SIGTERM: stop accepting, let
 * streams finish within the drain time; SIGTERM again or SIGQUIT: stop at once. */
int worker_run(const struct worker_settings *settings);
