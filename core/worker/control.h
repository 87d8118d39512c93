/* control.h -- what the master and a worker say to each other, over a socket pair.
 *
 * One packet a message, with descriptors where it has any.  Never blocks. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <stdbool.h>

enum control_kind {
    CONTROL_LOAD,    /* load generation number from descriptor 0; 1 is a new listening socket */
    CONTROL_SWITCH,  /* serve it from now on */
    CONTROL_DROP,    /* forget it */
    CONTROL_TRY,     /* serve it to some, beside the one that serves; number is its own */
    CONTROL_PROMOTE, /* what is tried serves all; descriptor 0 is what it was loaded from */
    CONTROL_END,     /* what is tried is forgotten */
    CONTROL_REFUSED, /* text: why the last reload was refused; empty: it was not */
    /* the worker's */
    CONTROL_LOADED, /* serial: of the load */
    CONTROL_FAILED, /* the same, and text says why */
    CONTROL_FREED,  /* number: nobody uses that generation any more */
};

enum { CONTROL_TEXT = 1024, CONTROL_FDS = 2 };

struct control_message {
    enum control_kind kind;
    unsigned serial; /* of a load: an answer to an older one is none to this */
    unsigned number;
    int fd_count;
    int fds[CONTROL_FDS];    /* borrowed when sent, owned when received */
    char text[CONTROL_TEXT]; /* cut when longer */
};

bool control_open(int fds[2]); /* master's end, worker's end */

bool control_send(int fd, const struct control_message *message);

enum control_read { CONTROL_MESSAGE, CONTROL_NOTHING, CONTROL_CLOSED };
enum control_read control_receive(int fd, struct control_message *message);

/* Closes descriptors of a message that are not wanted. */
void control_close(struct control_message *message);
