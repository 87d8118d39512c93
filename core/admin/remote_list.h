/* remote_list.h -- weir keys list, weir teams list: all pages of a list, printed as one as they
 * come.
 */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "remote.h"

enum remote_form { REMOTE_LINES, REMOTE_CSV, REMOTE_JSON };

/* path: "GET /keys" with whatever it is filtered by; after: the name that the first page comes
 * behind, or NULL.  Gives the exit code. */
int remote_list(struct remote *remote, const char *path, const char *after, enum remote_form form);
