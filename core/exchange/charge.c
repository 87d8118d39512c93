/* charge.c -- from heads, usages and outcomes to the grant of an attempt. */
/* SPDX-License-Identifier: MIT */
#include "charge.h"
#include "accounts/bill.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "meter.h"
#include "policy/policy.h"

enum { HEADERS_MAX = 32, WORDS_MAX = 16 };

static bool is_of_quota(const struct provider *provider, struct slice name)
{
    for (size_t i = 0; i < provider->quota_header_count; i++) {
        const char *wanted = provider->quota_headers[i];
        if (strncmp(name.ptr, wanted, name.len) == 0 && wanted[name.len] == '\0')
            return true;
    }
    return false;
}

/* What the head says of quotas. */
static size_t read_words(struct generation *generation, struct attempt *attempt,
                         struct quota_word *words)
{
    const struct provider *provider = attempt_provider(attempt);
    const struct transfer *transfer = attempt_transfer(attempt);
    struct policy_header headers[HEADERS_MAX];
    struct slice name, value;
    size_t count = 0, at = 0;

    while (transfer && count < HEADERS_MAX && upstream_next_header(transfer, &at, &name, &value))
        if (value.len && is_of_quota(provider, name))
            headers[count++] = (struct policy_header){name, value};
    return count ? generation_quotas(generation, provider, headers, count, words, WORDS_MAX) : 0;
}

/* wait_us: until a quota is back that is spent and names no time; -1: not known. */
static void hear(struct limits *limits, struct generation *generation, struct attempt *attempt,
                 int64_t wait_us)
{
    struct quota_word words[WORDS_MAX];
    size_t count = read_words(generation, attempt, words);

    for (size_t i = 0; i < count; i++)
        if (words[i].left == 0 && words[i].wait_us < 0)
            words[i].wait_us = wait_us;
    grant_hear(limits, attempt_grant(attempt), words, count, loop_now_us());
}

void charge_commit(struct limits *limits, struct generation *generation, struct attempt *attempt)
{
    hear(limits, generation, attempt, -1);
    bill_item_note(attempt_item(attempt), "ok");
    grant_succeed(limits, attempt_grant(attempt), attempt_shown_us(attempt), loop_now_us());
}

struct policy_fault charge_fault(struct attempt *attempt, const struct attempt_fault *fault)
{
    return (struct policy_fault){
        .provider = attempt_provider(attempt),
        .target = attempt_target(attempt),
        .fault = fault->fault,
        .phase = fault->phase,
        .status = fault->status,
        .body = fault->body,
        .message = fault->message,
        .attempt = attempt_transfer(attempt) ? attempt : NULL,
        .was_sent = attempt_was_sent(attempt),
    };
}

void charge_each_header(void *arg, void *attempt,
                        void (*visit)(void *visit_arg, struct slice name, struct slice value),
                        void *visit_arg)
{
    struct transfer *transfer = attempt_transfer(attempt);
    struct slice name, value;
    size_t at = 0;

    while (transfer && upstream_next_header(transfer, &at, &name, &value))
        visit(visit_arg, name, value);
}

/* Silence and cuts that the provider, or the way to it, is to blame for. */
static bool is_stumble(const struct attempt_fault *fault)
{
    return fault->fault == ERR_TIMEOUT || fault->fault == ERR_TRUNCATED ||
           fault->fault == ERR_RESET;
}

static void log_cooldown(struct attempt *attempt, const struct policy_outcome *outcome,
                         double seconds)
{
    const struct provider *provider = attempt_provider(attempt);
    struct log_line line = log_begin(LOG_INFO, "cooldown");

    if (outcome->scope == GRANT_OF_KEY && outcome->cooldown > 0)
        log_str(&line, "key", provider->name);
    else
        log_text(&line, "key", attempt_target(attempt));
    if (provider->key_count > 1)
        log_int(&line, "provider_key", attempt_grant(attempt)->key);
    log_str(&line, "reason", outcome->code);
    if (outcome->dimension[0])
        log_str(&line, "dimension", outcome->dimension);
    log_int(&line, "seconds", (int64_t)(seconds + 0.5));
    log_end(&line);
}

double charge_fail(struct limits *limits, struct generation *generation, struct attempt *attempt,
                   const struct attempt_fault *fault, const struct policy_outcome *outcome)
{
    struct grant *grant = attempt_grant(attempt);
    int64_t now_us = loop_now_us(), wait_us = 0;

    bill_item_note(attempt_item(attempt), outcome->code);
    if (attempt_status(attempt))
        hear(limits, generation, attempt,
             outcome->cooldown > 0 ? (int64_t)(outcome->cooldown * 1e6) : -1);
    if (outcome->cooldown > 0) {
        struct grant_failure failure = {
            .scope = outcome->scope,
            .reason = outcome->code,
            .dimension = outcome->dimension[0] ? outcome->dimension : NULL,
            .wait_us = (int64_t)(outcome->cooldown * 1e6),
            .is_said = outcome->is_said,
        };
        wait_us = grant_fail(limits, grant, &failure, now_us);
    } else if (is_stumble(fault)) {
        wait_us = grant_stumble(limits, grant, outcome->code, now_us);
    }
    if (wait_us > 0)
        log_cooldown(attempt, outcome, (double)wait_us / 1e6);
    return (double)wait_us / 1e6;
}

/* What is known to have been used; -1: not known. */
static int64_t tokens_of(const struct attempt *attempt)
{
    struct chunk_usage usage = attempt_usage(attempt);
    int64_t prompt = usage.prompt >= 0 ? usage.prompt : 0;

    if (usage.total >= 0)
        return usage.total;
    if (usage.prompt >= 0 || usage.completion >= 0)
        return prompt + (usage.completion >= 0 ? usage.completion : 0);
    return attempt_status(attempt) >= 400 ? 0 : -1;
}

void charge_end(struct limits *limits, struct attempt *attempt)
{
    int64_t shown_us = attempt_shown_us(attempt);
    struct bill_outcome outcome = {
        .usage = attempt_usage(attempt),
        .said_bytes = attempt_said_bytes(attempt),
        .told_cost = attempt_provider(attempt)->reports_cost ? attempt_told_cost(attempt) : -1,
        .untold_bytes = attempt_untold_bytes(attempt),
        .was_sent = attempt_was_sent(attempt),
        .was_refused = attempt_was_refused(attempt),
        .status = attempt_status(attempt),
        .first_ms = shown_us < 0 ? -1 : shown_us / 1000,
        .total_ms = attempt_age_us(attempt) / 1000,
    };

    grant_end(limits, attempt_grant(attempt), tokens_of(attempt), outcome.was_sent, loop_now_us());
    meter_cost(attempt_provider(attempt)->meter,
               bill_item_end(attempt_take_item(attempt), &outcome));
}
