/* gateway.h -- the master: it opens the listening socket, keeps the workers running and stops
 * them.  It speaks no HTTP and runs no policy. */
/* SPDX-License-Identifier: MIT */
#pragma once

enum { /* exit codes of weir, for all commands; docs/configuration.md lists them */
       EXIT_OK = 0,
       EXIT_FAILED = 1, /* could not do what was asked: a port in use, a worker that cannot start */
       EXIT_USAGE = 2,  /* the command line is wrong */
       EXIT_CONFIG = 3, /* weir.lua has errors */
};

/* weir serve: runs until it is told to stop. */
int gateway_serve(const char *config_path);

/* weir check: loads, validates, prints. */
int gateway_check(const char *config_path);
