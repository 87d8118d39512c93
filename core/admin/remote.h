/* remote.h -- the commands that speak to a running gateway: reload, rollback, status, limits,
 * explain; keys, teams, usage, requests. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"

/* argv[0] is the command; gives the exit code. */
int remote_main(int argc, char **argv);
int remote_ledger_main(int argc, char **argv); /* keys, teams, usage, requests */

struct remote {
    const char *config_path; /* NULL: ./weir.lua, or where there is none the packaged gateway */
    const char *socket_path; /* NULL: beside the configuration, and then set */
    char default_path[256];
    bool wants_json; /* and no lines for people */
    char next[256];  /* the last answer's: where the page after it begins; "": there is none */
};

/* Sends a request, "POST /reload", with a body that may be empty; gives the answer's status and
 * appends its body to out.  0: nobody answers there, and errno says why. */
int remote_ask(struct remote *remote, const char *request, struct slice body, struct buf *out);

/* The exit code that an answer's status of the ledger's asks for; 0: there is none. */
int remote_exit(int status);

/* Appends text as a part of a path or a query: RFC 3986. */
void remote_escape(struct buf *out, const char *text);

/* Prints that nobody answered, why (errno), and what helps. */
void remote_say_nobody(const struct remote *remote);
