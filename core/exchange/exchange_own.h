/* exchange_own.h -- what the files of the exchange share: exchange.c has its life and its state,
 * exchange_send.c the attempts, exchange_commit.c what a policy returns, exchange_stream.c a
 * committed stream, exchange_store.c the texts that are stored.  Nobody else includes it. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "accounts/bill.h"
#include "accounts/transcript.h"
#include "attempt.h"
#include "charge.h"
#include "client/client.h"
#include "exchange.h"
#include "leaves/mem.h"
#include "meter.h"
#include "parsers/said.h"
#include "policy/policy.h"
#include "provider/fetch.h"
#include "trail.h"
#include <event2/event.h>
#include <event2/event_struct.h>

enum exchange_state { DECIDING, CALLING, SLEEPING, STREAMING, DONE };

struct racer { /* one target of a race */
    const struct provider *provider;
    char *target, *model;
    struct timeouts timeout;
    struct bill_price price;
    enum commit commit;
    struct attempt *attempt; /* NULL: is not running */
};

struct race { /* attempts of which the first to commit wins */
    struct racer *racers;
    size_t count, started, running;
    double after; /* seconds between two starts */
    const struct body_edits *edits;
};

struct exchange {
    struct exchange_world *world;
    struct generation *generation;
    struct client *client; /* NULL once it is gone or answered */
    struct policy *policy;
    struct attempt *attempt; /* the one that is open, or committed */
    struct race *race;       /* while one is on */
    struct fetch *fetch;     /* a policy's or a filter's own; the last one */
    struct buf bytes;        /* the request's body, until the commit point */
    struct body body;
    struct buf model;
    struct policy_request request;
    struct trail trail;
    struct event timer; /* sleeping; and freeing on the next turn */
    int64_t started_us, first_us;
    int64_t flushed_us; /* a stream's last batch of events */
    struct tally_batch between;
    enum exchange_state state;
    bool failed;         /* a filter failed: the stream ends */
    const char *refused; /* while it is answered so: why its key may not; borrowed */
    bool erred;          /* a filter failed, whatever followed */
    bool filtering;      /* a filter waits, with the event or answer kept in waiting */
    bool hides;          /* what waits is not for the client */
    bool unended;        /* it was the stream's last, and no blank line ended it */
    struct buf waiting;
    bool committed;           /* the attempt's answer is the client's */
    struct said *said;        /* by the stream; NULL: it does not go on when it breaks */
    struct attempt *broken;   /* the committed one, while the policy looks for who goes on */
    struct chunk_usage spent; /* by those that broke */
    struct {                  /* what broke it */
        char code[32], message[256];
    } wrong;
    bool joined;                   /* the attempt goes on with another's stream */
    struct keys_account account;   /* whose request it is; number 0: no virtual key's */
    struct transcript *transcript; /* NULL: its texts are not stored, or handed over already */
    char id[32];                   /* the client's; outlives it for the log */
    TAILQ_ENTRY(exchange) link;
};

/* ---- exchange.c ---- */

void exchange_set_state(struct exchange *x, enum exchange_state state);
/* Everything that can still happen stops here.  The client hears its last word after it. */
void exchange_finish(struct exchange *x, int status, const char *code);
struct chunk_usage exchange_usage(const struct exchange *x);
/* Goes on with what waits (a filter, a race, the policy) after so many seconds. */
void exchange_wait(struct exchange *x, double seconds);

/* ---- exchange_commit.c ---- */

void exchange_on_finish(void *arg, const struct policy_result *result);
/* What the filters made of a plain answer is in x->waiting. */
void exchange_settle_plain(struct exchange *x, enum policy_filtered filtered);

/* ---- exchange_send.c ---- */

void exchange_on_send(void *arg, const struct policy_send *send);
void exchange_on_shadow(void *arg, const struct policy_send *send);
void exchange_on_race(void *arg, const struct policy_send *sends, size_t count, double after);
void exchange_on_dropped(void *arg, void *attempt);
/* The next of the race that may be tried now: meanwhile it may have begun to cool. */
void exchange_next_racer(struct exchange *x);
void exchange_end_race(struct exchange *x); /* closes all that run; accepts that there is none */
void exchange_drop(struct exchange *x, struct attempt *attempt); /* accepts NULL */
void exchange_close(struct exchange *x,
                    struct attempt *attempt); /* settled; freed later; likewise */
struct policy_outcome exchange_judge(struct exchange *x, struct attempt *attempt,
                                     const struct attempt_fault *fault);

/* ---- exchange_store.c ---- */

struct answer_error;

void exchange_store(struct exchange *x); /* the request; the key and the configuration decide */
void exchange_store_answer(struct exchange *x, struct slice body);
void exchange_store_error(struct exchange *x, const struct answer_error *error);

/* ---- exchange_stream.c ---- */

void exchange_on_event(void *arg, const struct sse_event *event, const struct chunk *chunk);
void exchange_on_flush(void *arg);
void exchange_on_end(void *arg, const struct attempt_fault *fault);
void exchange_on_drained(void *arg);
/* The client learns that the stream is not whole: one error event, no [DONE], a cut. */
void exchange_break(struct exchange *x, const char *code, const char *message);
/* Nobody goes on with the stream that broke; it is told as if nobody had tried. */
void exchange_give_up(struct exchange *x, const char *code, const char *message);
/* The policy has looked for who goes on. */
void exchange_join(struct exchange *x, const struct policy_result *result);
/* The filter that waited goes on. */
void exchange_resume_filter(struct exchange *x);
