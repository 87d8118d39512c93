/* supervisor.h -- what systemd hands over, and what it is told.
 *
 * The protocols of sd_notify(3) and sd_listen_fds(3), which need no library.  Without systemd
 * nothing is handed over, and nobody is told. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"

/* The listening socket of a .socket unit, which the caller then owns; -1: there is none, or, with
 * a problem said, none that can be used.  Once. */
int supervisor_take_listener(struct buf *problem);

/* A line or several: "READY=1", "STOPPING=1", "STATUS=…". */
void supervisor_say(const char *state);
