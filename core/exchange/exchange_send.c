/* exchange_send.c -- the attempts of a request: sent, raced, judged, handed to the policy. */
/* SPDX-License-Identifier: MIT */
#include "exchange_own.h"
#include "leaves/loop.h"
#include "policy/ration.h"

static const struct attempt_owner attempts;

/* ---- the policy sends ---- */

void exchange_drop(struct exchange *x, struct attempt *attempt)
{
    if (!attempt)
        return;
    charge_end(x->world->limits, attempt);
    attempt_free(attempt);
}

/* What it took of limits and budgets is given back before the client hears that it is over: what
 * that sends next may be another worker's. */
void exchange_close(struct exchange *x, struct attempt *attempt)
{
    if (!attempt)
        return;
    attempt_close(attempt);
    charge_end(x->world->limits, attempt);
}

/* Headers of the client's that a provider gets: what makes a retry safe to it, and a trace. */
static size_t forwarded_headers(const struct exchange *x, struct upstream_header *headers,
                                size_t most)
{
    static const char *const names[] = {"idempotency-key", "traceparent", "tracestate"};
    size_t count = 0;

    for (size_t i = 0; i < sizeof names / sizeof *names && count < most; i++) {
        struct slice value = client_header(x->client, names[i]);
        if (value.len)
            headers[count++] = (struct upstream_header){names[i], value.ptr};
    }
    return count;
}

static struct adapter_call call_of(const struct exchange *x, const struct policy_send *send)
{
    return (struct adapter_call){
        .provider = send->provider,
        .endpoint = x->request.endpoint,
        .model = send->model,
        .body = send->body,
        .edits = send->edits,
        .stream = x->request.stream,
        .add_usage = adapter_adds_usage(send->provider, send->body, x->request.stream),
        .key = send->grant.key,
    };
}

static int64_t deadline_of(const struct exchange *x)
{
    int64_t total_ms = generation_config(x->generation)->timeout.total_ms;

    return total_ms ? x->started_us + total_ms * 1000 : 0;
}

static struct attempt *start_attempt(struct exchange *x, const struct policy_send *send)
{
    struct upstream_header headers[3];
    struct attempt_new made = {
        .base = x->world->base,
        .upstream = x->world->upstream,
        .call = call_of(x, send),
        .target = send->target,
        .grant = send->grant,
        .item = send->item,
        .timeout = send->timeout,
        .commit = send->commit,
        .deadline_us = deadline_of(x),
        .owner = &attempts,
        .arg = x,
    };

    made.call.headers = headers;
    made.call.header_count = forwarded_headers(x, headers, 3);
    return attempt_new(&made);
}

void exchange_on_send(void *arg, const struct policy_send *send)
{
    struct exchange *x = arg;

    exchange_set_state(x, CALLING);
    x->attempt = start_attempt(x, send);
}

/* Nothing of the client's goes with it: an idempotency key would make it the request itself. */
void exchange_on_shadow(void *arg, const struct policy_send *send)
{
    struct exchange *x = arg;
    struct shadow_new made = {
        .base = x->world->base,
        .upstream = x->world->upstream,
        .generation = x->generation,
        .limits = x->world->limits,
        .id = x->request.id,
        .call = call_of(x, send),
        .target = send->target,
        .grant = send->grant,
        .item = send->item,
        .timeout = send->timeout,
        .deadline_us = deadline_of(x),
    };
    shadow_start(&x->world->shadows, &made);
}

/* ---- the policy races ---- */

void exchange_end_race(struct exchange *x)
{
    if (!x->race)
        return;
    for (size_t i = 0; i < x->race->count; i++) {
        exchange_drop(x, x->race->racers[i].attempt);
        mem_free(x->race->racers[i].target);
        mem_free(x->race->racers[i].model);
    }
    mem_free(x->race->racers);
    mem_free(x->race);
    x->race = NULL;
}

static void run_racer(struct exchange *x, struct racer *racer, const struct grant *grant,
                      struct bill_item *item)
{
    struct race *race = x->race;
    struct policy_send send = {
        .provider = racer->provider,
        .target = slice_of(racer->target),
        .model = slice_of(racer->model),
        .timeout = racer->timeout,
        .commit = racer->commit,
        .grant = *grant,
        .item = item,
        .body = &x->body,
        .edits = race->edits,
    };

    racer->attempt = start_attempt(x, &send);
    race->running++;
    if (race->started < race->count)
        exchange_wait(x, race->after);
}

static struct bill_need need_of(const struct exchange *x)
{
    return ration_need(&x->body, x->race->edits, x->request.endpoint,
                       generation_config(x->generation)->answer_tokens);
}

/* The next that may be tried now: meanwhile it may have begun to cool. */
void exchange_next_racer(struct exchange *x)
{
    struct race *race = x->race;
    struct limits_wait wait;
    struct bill_refusal refusal;
    struct bill_item *item;
    struct grant grant;

    while (race->started < race->count) {
        struct racer *racer = &race->racers[race->started++];
        if (!ration_take(x->world->limits, racer->provider, slice_of(racer->model), &x->body, false,
                         &grant, &wait))
            continue;
        if (!bill_send(x->request.bill, slice_of(racer->target), &racer->price, need_of(x), &item,
                       &refusal)) {
            grant_end(x->world->limits, &grant, 0, false, loop_now_us());
            continue;
        }
        run_racer(x, racer, &grant, item);
        return;
    }
}

void exchange_on_race(void *arg, const struct policy_send *sends, size_t count, double after)
{
    struct exchange *x = arg;

    exchange_set_state(x, CALLING);
    x->race = mem_new(sizeof *x->race);
    x->race->racers = mem_new(count * sizeof *x->race->racers);
    x->race->count = count;
    x->race->after = after;
    x->race->edits = sends[0].edits;
    for (size_t i = 0; i < count; i++)
        x->race->racers[i] = (struct racer){.provider = sends[i].provider,
                                            .target = mem_dup(sends[i].target),
                                            .model = mem_dup(sends[i].model),
                                            .timeout = sends[i].timeout,
                                            .price = sends[i].price,
                                            .commit = sends[i].commit};
    x->race->started = 1;
    run_racer(x, &x->race->racers[0], &sends[0].grant, sends[0].item);
}

/* One of the race failed and was judged.  True when others still run. */
static bool race_goes_on(struct exchange *x, const struct attempt *failed)
{
    struct race *race = x->race;

    for (size_t i = 0; i < race->count; i++)
        if (race->racers[i].attempt == failed)
            race->racers[i].attempt = NULL;
    race->running--;
    event_del(&x->timer);
    if (race->started < race->count)
        exchange_next_racer(x);
    if (race->running)
        return true;
    exchange_end_race(x);
    return false;
}

/* The winner is x's attempt from here on; the others are closed at once. */
static void race_win(struct exchange *x, struct attempt *winner)
{
    struct race *race = x->race;

    event_del(&x->timer);
    for (size_t i = 0; i < race->count; i++) {
        struct attempt *attempt = race->racers[i].attempt;
        if (attempt && attempt != winner)
            trail_add(&x->trail, x->request.id, attempt, "cancelled", 0, 0, NULL, false);
        if (attempt == winner)
            race->racers[i].attempt = NULL;
    }
    exchange_end_race(x);
    x->attempt = winner;
}

struct policy_outcome exchange_judge(struct exchange *x, struct attempt *attempt,
                                     const struct attempt_fault *fault)
{
    struct policy_fault seen = charge_fault(attempt, fault);

    return policy_judge(x->policy, &seen);
}

/* What closed one key may have left another open. */
static void note_other_key(struct exchange *x, struct attempt *attempt)
{
    const struct provider *provider = attempt_provider(attempt);
    size_t skip = strlen(provider->name) + 1;
    struct slice model = attempt_target(attempt);
    struct limits_wait wait;

    model.ptr += skip;
    model.len -= skip;
    if (provider->keys && ration_check(x->world->limits, provider, model, &x->body, &wait))
        policy_note_other_key(x->policy);
}

static void on_fail(void *arg, struct attempt *attempt, const struct attempt_fault *fault)
{
    struct exchange *x = arg;
    struct policy_outcome outcome = exchange_judge(x, attempt, fault);
    int status = fault->status == 200 ? 0 : fault->status;
    double cools = charge_fail(x->world->limits, x->generation, attempt, fault, &outcome);

    double wait = cools > 0 ? cools : outcome.retry_after;
    int64_t again_us = wait >= 0 ? loop_now_us() + (int64_t)(wait * 1e6) : 0;
    trail_add(&x->trail, x->request.id, attempt, outcome.code, status, again_us, outcome.message,
              outcome.alarm);
    if (cools > 0 && outcome.scope != GRANT_OF_TARGET)
        note_other_key(x, attempt);
    bool goes_on = x->race && race_goes_on(x, attempt);
    if (x->attempt == attempt)
        x->attempt = NULL;
    exchange_drop(x, attempt);
    if (goes_on)
        return;
    exchange_set_state(x, DECIDING);
    policy_resume_failure(x->policy); /* may finish x: nothing after this */
}

static void on_commit(void *arg, struct attempt *attempt)
{
    struct exchange *x = arg;
    struct policy_answer answer = {
        .attempt = attempt,
        .target = attempt_target(attempt),
        .status = attempt_status(attempt),
        .stream = attempt_is_stream(attempt),
    };

    charge_commit(x->world->limits, x->generation, attempt);
    trail_add(&x->trail, x->request.id, attempt, "ok", attempt_status(attempt), 0, NULL, false);
    if (x->race)
        race_win(x, attempt);
    exchange_set_state(x, DECIDING);
    policy_resume_answer(x->policy, &answer); /* may finish x */
}

void exchange_on_dropped(void *arg, void *attempt)
{
    struct exchange *x = arg;

    if (x->attempt == attempt)
        x->attempt = NULL;
    exchange_drop(x, attempt);
}

static const struct attempt_owner attempts = {
    .on_commit = on_commit,
    .on_fail = on_fail,
    .on_event = exchange_on_event,
    .on_flush = exchange_on_flush,
    .on_end = exchange_on_end,
};
