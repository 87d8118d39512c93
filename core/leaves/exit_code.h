/* exit_code.h -- exit codes of weir, for all commands; docs/configuration.md lists them. */
/* SPDX-License-Identifier: MIT */
#pragma once

enum {
    EXIT_OK = 0,
    EXIT_FAILED = 1, /* could not do what was asked: a port in use, a worker that cannot start */
    EXIT_USAGE = 2,  /* the command line is wrong */
    EXIT_CONFIG = 3, /* weir.lua has errors */
};
