/* listener.h -- a listening TCP socket: opened by the master, given to workers. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"

enum { LISTENER_ADDRESS = 80 };

/* -1: problem says why. */
int listener_open(const char *host, int port, struct buf *problem);

/* The same while old_fd listens, whose addresses may be among the new ones, or have them. */
int listener_open_beside(int old_fd, const char *host, int port, struct buf *problem);

bool listener_is_loopback(int fd); /* nobody but this machine gets there */
void listener_address(int fd, char text[static LISTENER_ADDRESS]); /* where it listens */
void listener_log(int fd, int workers);                            /* the event "listening" */
