/* limits.c -- what limits cost on the way of a request, in nanoseconds.
 *
 *   cc -O2 -D_GNU_SOURCE -iquote core bench/limits.c build/libweir-parsers.so -o /tmp/limits
 *
 * The least of several rounds counts: that is the work; the rest is what else ran. */
/* SPDX-License-Identifier: MIT */
#include "limits/grant.h"
#include <stdio.h>
#include <time.h>

enum { CHAIN = 8, ROUNDS = 50, TIMES = 20000 };

struct bench {
    struct limits *limits;
    struct limits_rules rules;
    struct slice providers[CHAIN], models[CHAIN];
    int64_t now_us;
};

static double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static struct limits_target target_of(const struct bench *bench, int i)
{
    return limits_target(bench->providers[i], bench->models[i], 1, &bench->rules);
}

static void check_chain(struct bench *bench)
{
    struct limits_wait wait;

    for (int i = 0; i < CHAIN; i++) {
        struct limits_target target = target_of(bench, i);
        limits_check(bench->limits, &target, 100, bench->now_us, &wait);
    }
}

static void attempt(struct bench *bench, int i, bool fails)
{
    static const struct quota_word words[] = {
        {.dimension = QUOTA_RPD, .limit = INT64_MAX / 4, .left = INT64_MAX / 4, .wait_us = 1000000},
        {.dimension = QUOTA_TPM,
         .limit = INT64_MAX / 4,
         .left = INT64_MAX / 4,
         .wait_us = 1000000}};
    static const struct grant_failure failure = {
        .scope = GRANT_OF_KEY_AND_MODEL, .reason = "rate_limited", .wait_us = 1, .is_said = true};
    struct limits_target target = target_of(bench, i);
    struct limits_wait wait;
    struct grant grant;

    grant_take(bench->limits, &target, 100, true, bench->now_us, &grant, &wait);
    grant_hear(bench->limits, &grant, words, 2, bench->now_us);
    if (fails)
        grant_fail(bench->limits, &grant, &failure, bench->now_us);
    else
        grant_succeed(bench->limits, &grant, 1000, bench->now_us);
    grant_end(bench->limits, &grant, 120, true, bench->now_us);
}

static void take_and_end(struct bench *bench)
{
    struct limits_target target = target_of(bench, 0);
    struct limits_wait wait;
    struct grant grant;

    grant_take(bench->limits, &target, 100, true, bench->now_us, &grant, &wait);
    grant_end(bench->limits, &grant, 120, true, bench->now_us);
}

static void succeed(struct bench *bench)
{
    attempt(bench, 0, false);
}

static void fail(struct bench *bench)
{
    attempt(bench, 0, true);
}

static void measure(struct bench *bench, const char *name, void (*run)(struct bench *bench))
{
    double best = 1e18;

    for (int round = 0; round < ROUNDS; round++) {
        double began = now_ns();
        for (int i = 0; i < TIMES; i++) {
            bench->now_us++;
            run(bench);
        }
        double each = (now_ns() - began) / TIMES;
        best = each < best ? each : best;
    }
    printf("%-56s %6.0f ns\n", name, best);
}

int main(void)
{
    static char providers[CHAIN][16], models[CHAIN][40];
    struct bench bench = {.limits = limits_new(), .now_us = 1};

    bench.rules.windows[WINDOW_RPM] = bench.rules.windows[WINDOW_TPD] = INT64_MAX / 2;
    for (int i = 0; i < CHAIN; i++) {
        snprintf(providers[i], sizeof providers[i], "provider%d", i);
        snprintf(models[i], sizeof models[i], "llama-3.3-70b-versatile-%d", i);
        bench.providers[i] = slice_of(providers[i]);
        bench.models[i] = slice_of(models[i]);
        attempt(&bench, i, false);
    }
    measure(&bench, "availability of a chain of 8, all free", check_chain);
    for (int i = 0; i < CHAIN; i++) {
        struct limits_target target = target_of(&bench, i);
        limits_cool(bench.limits, &target, INT64_MAX / 2, "rate_limited", 1);
    }
    measure(&bench, "availability of a chain of 8, all cooling", check_chain);
    for (int i = 0; i < CHAIN; i++) {
        struct limits_target target = target_of(&bench, i);
        limits_uncool(bench.limits, &target);
    }
    measure(&bench, "an attempt: take and end", take_and_end);
    measure(&bench, "an attempt: take, hear two quotas, succeed, end", succeed);
    measure(&bench, "an attempt: take, hear two quotas, fail, end", fail);
    limits_free(bench.limits);
    return 0;
}
