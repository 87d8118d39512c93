/* remote.h -- the commands that speak to a running gateway: reload, rollback, status. */
/* SPDX-License-Identifier: MIT */
#pragma once

/* argv[0] is the command; gives the exit code. */
int remote_main(int argc, char **argv);
