/* trail.h -- the attempts of a request, in order, and a log line for each. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "policy/policy.h"

struct attempt;

enum { TRAIL_MAX = 64 }; /* attempts one request may make that are kept */

struct trail_item {
    char *target;
    char code[32];
    int key; /* which of the provider's, where it has several; else 0 */
    int status;
    int64_t ms;
    int64_t again_us; /* when it may be tried again, monotonic; 0: unknown */
};

struct trail { /* all zero is an empty one; trail_free gives back what it holds */
    struct trail_item *items;
    size_t count;
};

/* Adds the attempt as it is now, where there is room, and logs it.  code: what came of it.
 * again_us: as of the item.  message: or NULL.  alarm: somebody has to do something. */
void trail_add(struct trail *trail, const char *id, struct attempt *attempt, const char *code,
               int status, int64_t again_us, const char *message, bool alarm);

/* The last that went well broke afterwards: changes its entry, and logs that. */
void trail_break(struct trail *trail, const char *id, struct attempt *attempt, const char *message);

/* For policies; borrowed until the next call for any trail. */
size_t trail_entries(const struct trail *trail, const struct policy_trail_entry **entries);

void trail_free(struct trail *trail);
