/* shadow.c -- an attempt whose events go nowhere, from its start to its line in the log.
 *
 *   shadow_start -> (on_commit) -> finish     its line in the log, then it is freed
 *        |                           ^
 *        +-- on_fail, shadow_cancel -+ */
/* SPDX-License-Identifier: MIT */
#include "shadow.h"
#include "accounts/bill.h"
#include "attempt.h"
#include "charge.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "policy/policy.h"
#include <stdio.h>

enum { TOTAL_MS = 600 * 1000 }; /* where the total clock is off: nobody else would end it */

struct shadow {
    struct shadows *of;
    struct generation *generation;
    struct limits *limits;
    struct attempt *attempt;
    char id[32];
    TAILQ_ENTRY(shadow) link;
};

static const struct attempt_owner owner;
static const struct policy_host host;

void shadow_init(struct shadows *shadows)
{
    TAILQ_INIT(&shadows->live);
    shadows->count = 0;
}

static void log_skipped(const struct shadow_new *made)
{
    struct log_line line = log_begin(LOG_WARN, "shadow");

    log_str(&line, "id", made->id);
    log_text(&line, "target", made->target);
    log_str(&line, "outcome", "skipped");
    log_end(&line);
}

void shadow_start(struct shadows *shadows, const struct shadow_new *made)
{
    if (shadows->count >= SHADOWS_MAX) {
        struct grant grant = made->grant;
        grant_end(made->limits, &grant, 0, false, loop_now_us());
        bill_item_drop(made->item);
        log_skipped(made);
        return;
    }
    struct shadow *shadow = mem_new(sizeof *shadow);
    struct attempt_new attempt = {
        .base = made->base,
        .upstream = made->upstream,
        .call = made->call,
        .target = made->target,
        .grant = made->grant,
        .item = made->item,
        .timeout = made->timeout,
        .deadline_us = made->deadline_us,
        .owner = &owner,
        .arg = shadow,
    };

    if (!attempt.timeout.total_ms)
        attempt.timeout.total_ms = TOTAL_MS;
    shadow->of = shadows;
    shadow->generation = generation_share(made->generation);
    shadow->limits = made->limits;
    snprintf(shadow->id, sizeof shadow->id, "%s", made->id);
    TAILQ_INSERT_TAIL(&shadows->live, shadow, link);
    shadows->count++;
    shadow->attempt = attempt_new(&attempt);
}

/* ---- the end ---- */

static void log_shadow(const struct shadow *shadow, const char *outcome, const char *message)
{
    const struct attempt *attempt = shadow->attempt;
    struct chunk_usage usage = attempt_usage(attempt);
    struct log_line line = log_begin(LOG_INFO, "shadow");

    log_str(&line, "id", shadow->id);
    log_text(&line, "target", attempt_target(attempt));
    log_str(&line, "outcome", outcome);
    if (attempt_status(attempt))
        log_int(&line, "status", attempt_status(attempt));
    if (attempt_open_us(attempt) >= 0)
        log_ms(&line, "connect_ms", attempt_open_us(attempt));
    if (attempt_commit_us(attempt) >= 0)
        log_ms(&line, "first_ms", attempt_commit_us(attempt));
    log_ms(&line, "ms", attempt_age_us(attempt));
    if (usage.prompt >= 0)
        log_int(&line, "prompt_tokens", usage.prompt);
    if (usage.completion >= 0)
        log_int(&line, "completion_tokens", usage.completion);
    log_str(&line, "message", message);
    log_end(&line);
}

static void finish(struct shadow *shadow, const char *outcome, const char *message)
{
    log_shadow(shadow, outcome, message);
    charge_end(shadow->limits, shadow->attempt);
    attempt_free(shadow->attempt);
    TAILQ_REMOVE(&shadow->of->live, shadow, link);
    shadow->of->count--;
    generation_free(shadow->generation);
    mem_free(shadow);
}

void shadow_cancel(struct shadows *shadows, const char *id)
{
    struct shadow *shadow, *next;

    for (shadow = TAILQ_FIRST(&shadows->live); shadow; shadow = next) {
        next = TAILQ_NEXT(shadow, link);
        if (strcmp(shadow->id, id) == 0)
            finish(shadow, "cancelled", NULL);
    }
}

void shadow_cancel_all(struct shadows *shadows)
{
    while (!TAILQ_EMPTY(&shadows->live))
        finish(TAILQ_FIRST(&shadows->live), "cancelled", NULL);
}

/* ---- what the attempt says ---- */

static struct policy_outcome judge(struct shadow *shadow, const struct attempt_fault *fault)
{
    struct policy_fault seen = charge_fault(shadow->attempt, fault);

    return generation_judge(shadow->generation, shadow->id, &host, &seen);
}

/* What a copy meets may cool its own target, so that the next copies spare it, but never the
 * provider's key: the requests themselves may need that. */
static void on_fail(void *arg, struct attempt *attempt, const struct attempt_fault *fault)
{
    struct shadow *shadow = arg;
    struct policy_outcome outcome = judge(shadow, fault);

    outcome.scope = GRANT_OF_TARGET;
    charge_fail(shadow->limits, shadow->generation, attempt, fault, &outcome);
    finish(shadow, outcome.code, outcome.message);
}

static void on_commit(void *arg, struct attempt *attempt)
{
    struct shadow *shadow = arg;

    charge_commit(shadow->limits, shadow->generation, attempt);
    if (attempt_is_stream(attempt))
        attempt_stream(attempt); /* read to its end */
    else
        finish(arg, "ok", NULL);
}

static void on_event(void *arg, const struct sse_event *event, const struct chunk *chunk)
{
}

static void on_flush(void *arg)
{
}

static void on_end(void *arg, const struct attempt_fault *fault)
{
    struct shadow *shadow = arg;

    if (!fault) {
        finish(shadow, "ok", NULL);
        return;
    }
    struct policy_outcome outcome = judge(shadow, fault);
    outcome.scope = GRANT_OF_TARGET;
    charge_fail(shadow->limits, shadow->generation, shadow->attempt, fault, &outcome);
    finish(shadow, "broken", outcome.message);
}

static const struct attempt_owner owner = {
    .on_commit = on_commit,
    .on_fail = on_fail,
    .on_event = on_event,
    .on_flush = on_flush,
    .on_end = on_end,
};

static const struct policy_host host = {.headers = charge_each_header};
