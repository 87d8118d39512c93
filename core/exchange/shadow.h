/* shadow.h -- copies of requests that nobody waits for: what they are answered is logged, no more.
 *
 * A shadow is one attempt with a life of its own.  It may outlive the request
 * that it copies, but not the total clock, and not its worker: draining does
 * not wait for it.  It knows nothing of clients and policies. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "adapter.h"
#include "limits/grant.h"
#include <sys/queue.h>

struct event_base;
struct generation;
struct shadow;

enum { SHADOWS_MAX = 256 }; /* of a worker, at a time; more are left out */

TAILQ_HEAD(shadow_list, shadow);

struct shadows { /* those of a worker */
    struct shadow_list live;
    size_t count;
};

struct shadow_new {
    struct event_base *base;
    struct upstream *upstream;
    struct generation *generation; /* shared as long as the shadow lives */
    struct limits *limits;
    const char *id; /* of the request that it copies; copied */
    struct adapter_call call;
    struct slice target; /* copied */
    struct grant grant;  /* taken */
    struct bill_item *item;
    struct timeouts timeout;
    int64_t deadline_us; /* of the request; monotonic; 0: none */
};

void shadow_init(struct shadows *shadows);
void shadow_start(struct shadows *shadows, const struct shadow_new *made);

/* Closes those of one request, whose client left. */
void shadow_cancel(struct shadows *shadows, const char *id);
void shadow_cancel_all(struct shadows *shadows);
