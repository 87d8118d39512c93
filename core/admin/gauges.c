/* gauges.c -- the master's own figures, beside the tables that workers add to. */
/* SPDX-License-Identifier: MIT */
#include "gauges.h"
#include "accounts/budget.h"
#include "accounts/ring.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "limits/lane.h"
#include "limits/limit.h"
#include "master/clerk.h"
#include "master/crew.h"
#include "master/loader.h"
#include "master/reload.h"
#include "master/trial.h"
#include "metrics/canary.h"
#include "metrics/family.h"
#include "metrics/metrics.h"
#include "metrics/tally.h"
#include <stdatomic.h>

static void add_counter(struct buf *out, const char *name, unsigned long long count)
{
    family_write(out, slice_of(name), "counter");
    buf_add_format(out, "%s %llu\n", name, count);
}

static void add_gauge(struct buf *out, const char *name, long long value)
{
    family_write(out, slice_of(name), "gauge");
    buf_add_format(out, "%s %lld\n", name, value);
}

/* ---- workers ---- */

static void add_workers(const struct crew *crew, struct buf *out)
{
    static const char *const states[] = {"dead", "draining", "ready", "starting"};
    int counts[4] = {0};

    for (int i = 0; i < crew->count; i++) {
        const struct crew_worker *worker = crew->list[i];
        counts[!worker->pid ? 0 : worker->is_retired ? 1 : worker->is_ready ? 2 : 3]++;
    }
    family_write(out, SLICE("weir_workers"), "gauge");
    for (int i = 0; i < 4; i++)
        buf_add_format(out, "weir_workers{state=\"%s\"} %d\n", states[i], counts[i]);
}

/* What one that died was at is over. */
static void add_pulses(const struct crew *crew, const struct tallies *tallies, struct buf *out)
{
    struct tally_pulse sum = {0};

    for (int i = 0; i < crew->count; i++) {
        struct tally_pulse one = {0};
        if (crew->list[i]->pid)
            one = tallies_pulse(tallies, crew->list[i]->number);
        sum.in_flight += one.in_flight;
        sum.waiting += one.waiting;
        sum.connections += one.connections;
        sum.shadows += one.shadows;
    }
    add_gauge(out, "weir_requests_in_flight", sum.in_flight);
    add_gauge(out, "weir_requests_waiting", sum.waiting);
    add_gauge(out, "weir_connections", sum.connections);
    add_gauge(out, "weir_shadows_in_flight", sum.shadows);
}

/* ---- providers ---- */

struct provider_sum {
    char name[LANE_NAME];
    long long cooling, in_flight;
    int64_t left[QUOTA_COUNT]; /* the least that any key has for any model; -1: not known */
};

struct provider_sums {
    struct provider_sum *list;
    size_t count;
    int64_t now_us;
};

static struct provider_sum *sum_of(struct provider_sums *sums, struct slice name)
{
    for (size_t i = 0; i < sums->count; i++)
        if (slice_is(name, sums->list[i].name))
            return &sums->list[i];
    sums->list = mem_resize(sums->list, (sums->count + 1) * sizeof *sums->list);
    struct provider_sum *sum = &sums->list[sums->count++];
    memset(sum, 0, sizeof *sum);
    for (int i = 0; i < QUOTA_COUNT; i++)
        sum->left[i] = -1;
    memcpy(sum->name, name.ptr, name.len < LANE_NAME ? name.len : LANE_NAME - 1);
    return sum;
}

static void add_left(struct provider_sum *sum, int dimension, int64_t left)
{
    if (left >= 0 && (sum->left[dimension] < 0 || left < sum->left[dimension]))
        sum->left[dimension] = left;
}

/* What the provider told, and what the configuration allows. */
static void add_quotas(struct provider_sum *sum, struct lane *lane, int64_t now_us)
{
    for (int i = 0; i < QUOTA_COUNT; i++)
        if (atomic_load(&lane->told) >> i & 1)
            add_left(sum, i, quota_left(&lane->quotas[i], now_us));
    for (int i = 0; i < WINDOW_COUNT; i++) {
        int64_t limit = atomic_load(&lane->windows[i].limit);
        int64_t left = limit - atomic_load(&lane->windows[i].used);
        if (limit)
            add_left(sum, (int)lane_dimension((enum lane_window)i), left > 0 ? left : 0);
    }
}

/* In flight is counted where the key is not: each attempt once. */
static void add_lane(void *arg, struct lane *lane)
{
    struct provider_sums *sums = arg;
    struct slice name = {lane->name, (size_t)lane->provider_len};
    struct provider_sum *sum = sum_of(sums, name);

    sum->cooling += atomic_load(&lane->until_us) > sums->now_us;
    if (!lane->key)
        sum->in_flight += atomic_load(&lane->inflight);
    add_quotas(sum, lane, sums->now_us);
}

static void add_left_series(const struct provider_sum *sum, int dimension, struct buf *out)
{
    struct buf series = {0};

    buf_add_text(&series, "weir_quota_remaining");
    metrics_add_label(&series, SLICE("gen_ai_provider_name"), slice_of(sum->name));
    metrics_add_label(&series, SLICE("dimension"),
                      slice_of(quota_name((enum quota_dimension)dimension)));
    buf_add(out, buf_slice(&series));
    buf_add_format(out, "} %lld\n", (long long)sum->left[dimension]);
    buf_free(&series);
}

static void add_quotas_left(const struct provider_sums *sums, struct buf *out)
{
    bool any = false;

    for (size_t i = 0; i < sums->count; i++) {
        for (int j = 0; j < QUOTA_COUNT; j++) {
            if (sums->list[i].left[j] < 0)
                continue;
            if (!any)
                family_write(out, SLICE("weir_quota_remaining"), "gauge");
            any = true;
            add_left_series(&sums->list[i], j, out);
        }
    }
}

static void add_by_provider(const struct provider_sums *sums, const char *name, bool cooling,
                            struct buf *out)
{
    if (sums->count)
        family_write(out, slice_of(name), "gauge");
    for (size_t i = 0; i < sums->count; i++) {
        struct buf series = {0};
        buf_add_text(&series, name);
        metrics_add_label(&series, SLICE("gen_ai_provider_name"), slice_of(sums->list[i].name));
        buf_add(out, buf_slice(&series));
        buf_add_format(out, "} %lld\n", cooling ? sums->list[i].cooling : sums->list[i].in_flight);
        buf_free(&series);
    }
}

static void add_providers(struct limits *limits, struct buf *out)
{
    struct provider_sums sums = {.now_us = loop_now_us()};

    lanes_each(limits_lanes(limits), add_lane, &sums);
    add_by_provider(&sums, "weir_targets_cooling", true, out);
    add_by_provider(&sums, "weir_attempts_in_flight", false, out);
    add_quotas_left(&sums, out);
    mem_free(sums.list);
}

/* ---- texts that are stored ---- */

static void add_texts(const struct rings *rings, struct buf *out)
{
    add_counter(out, "weir_texts_stored_total", rings_counted(rings, RINGS_STORED));
    add_counter(out, "weir_texts_dropped_total", rings_counted(rings, RINGS_DROPPED));
}

/* ---- the ledger ---- */

static void add_clerk(const struct clerk *clerk, struct buf *out)
{
    if (!clerk || !clerk_is_wanted(clerk))
        return;
    add_gauge(out, "weir_clerk_up", clerk_runs(clerk));
    add_counter(out, "weir_clerk_deaths_total", clerk_deaths(clerk));
}

static void add_ledger(const struct budget *budget, struct buf *out)
{
    struct budget_health health = budget_get_health(budget);

    if (!budget_is_loaded(budget))
        return;
    add_gauge(out, "weir_ledger_failing", health.is_failing);
    add_gauge(out, "weir_ledger_waiting", health.waiting);
    family_write(out, SLICE("weir_journal_used_ratio"), "gauge");
    buf_add_format(out, "weir_journal_used_ratio %.4f\n", (double)health.fullest / JOURNAL_SLOTS);
}

/* ---- versions ---- */

static void add_by_version(struct buf *out, const char *name, uint64_t canary, uint64_t serving)
{
    family_write(out, slice_of(name), "gauge");
    buf_add_format(out, "%s{version=\"canary\"} %llu\n%s{version=\"serving\"} %llu\n", name,
                   (unsigned long long)canary, name, (unsigned long long)serving);
}

static void add_canary(const struct reload *reload, const struct crew *crew, struct buf *out)
{
    const struct trial *trial = reload_trial(reload);
    struct canary_counts old = {0}, fresh = {0};

    add_gauge(out, "weir_canary", trial_is_on(trial));
    if (!trial_is_on(trial))
        return;
    canary_read(crew->start.canary, &old, &fresh);
    add_by_version(out, "weir_canary_requests", fresh.requests, old.requests);
    add_by_version(out, "weir_canary_errors", fresh.errors, old.errors);
}

void gauges_write(const struct reload *reload, const struct crew *crew, const struct clerk *clerk,
                  struct buf *out)
{
    struct metrics *metrics = limits_metrics(crew->start.limits);

    add_gauge(out, "weir_generation", reload_current(reload)->number);
    add_gauge(out, "weir_generations_live", crew_live(crew));
    add_gauge(out, "weir_reload_refused", reload_refusal(reload).len > 0);
    if (reload_current(reload)->tls_ends)
        add_gauge(out, "weir_tls_certificate_end_seconds", reload_current(reload)->tls_ends);
    add_canary(reload, crew, out);
    add_workers(crew, out);
    add_pulses(crew, metrics_tallies(metrics), out);
    add_providers(crew->start.limits, out);
    add_texts(crew->start.rings, out);
    add_clerk(clerk, out);
    add_ledger(crew->start.budget, out);
    tallies_write(metrics_tallies(metrics), out);
    metrics_write(metrics, out);
}
