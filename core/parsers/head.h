/* head.h -- a block of response header lines, each ended by CRLF.
 *
 * What goes into it may come from clients, providers and policies: nothing can
 * end a line early or forge the framing. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/slice.h"

/* Appends "name: value\r\n"; bytes that may not be in a value become '?'. */
void head_add(struct buf *head, const char *name, struct slice value);

/* The same with a name that a policy chose: false, and nothing is added, when it is no token
 * (RFC 9110, 5.6.2) or one of the headers that frame a message or that Weir sets itself. */
bool head_add_checked(struct buf *head, struct slice name, struct slice value);
