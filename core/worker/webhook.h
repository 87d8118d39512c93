/* webhook.h -- a message on its way to whom the operator named: tried a few times, then given up.
 *
 * One at a time.  It knows HTTP and patience, and nothing of what the message says. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/slice.h"
#include <stdbool.h>

struct config_webhook;
struct event_base;
struct upstream;
struct webhook;

struct webhook_result {
    bool is_taken; /* answered with 2xx */
    int tries;
    int status;      /* of the last answer; 0: none came */
    const char *why; /* a sentence; static */
};

struct webhook_owner {
    /* Whom to tell, asked before each try, as a reload may change it; base NULL: nobody any more.
     */
    const struct config_webhook *(*whom)(void *arg);
    void (*on_done)(void *arg, const struct webhook_result *result);
};

/* All borrowed until webhook_free. */
struct webhook *webhook_new(struct event_base *base, struct upstream *upstream,
                            const struct webhook_owner *owner, void *arg);
void webhook_free(struct webhook *webhook); /* gives up without a word; accepts NULL */

bool webhook_is_busy(const struct webhook *webhook);
/* Begins; on_done comes once, from the loop.  Not while it is busy. */
void webhook_send(struct webhook *webhook, struct slice json);
