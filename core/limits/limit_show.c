/* limit_show.c -- lanes as rows: one for each target and key that was used, one for what a key
 * has for all models, one for what closes a target by any key. */
/* SPDX-License-Identifier: MIT */
#include "limit_show.h"
#include "leaves/mem.h"
#include "parsers/json.h"
#include <stdio.h>
#include <stdlib.h>

#define GET(number) atomic_load_explicit(&(number), memory_order_relaxed)

struct row {
    char name[LANE_NAME + 8]; /* to sort by */
    struct buf text;
};

struct rows {
    struct row *list;
    size_t count;
    bool as_text;
    int64_t now_us;
};

static double seconds(int64_t us)
{
    return (double)us / 1e6;
}

static const char *state_of(struct lane *lane, int64_t now_us, struct limits_wait *wait)
{
    struct limits_rules rules = {.concurrent = GET(lane->concurrent)};
    struct need need = {.tokens = 1, .now_us = now_us, .rules = &rules};
    bool is_tracked = GET(lane->told) != 0;

    for (int i = 0; i < WINDOW_COUNT; i++) {
        rules.windows[i] = GET(lane->windows[i].limit);
        is_tracked = is_tracked || rules.windows[i];
    }
    need_turn(lane, now_us);
    if (need_is_blocked(&need, lane, wait))
        return "exhausted";
    return is_tracked ? "tracking" : "available";
}

/* ---- quotas ---- */

static void add_quota(struct rows *rows, struct buf *out, size_t *count, const char *name,
                      const char *from, int64_t limit, int64_t left, int64_t reset_us)
{
    int64_t wait_us = reset_us > rows->now_us ? reset_us - rows->now_us : 0;

    if (rows->as_text) {
        buf_add_format(out, "%s%s %lld", *count ? ", " : "  ", name, (long long)left);
        if (limit >= 0)
            buf_add_format(out, "/%lld", (long long)limit);
        if (wait_us && left <= 0)
            buf_add_format(out, " (%.0f s)", seconds(wait_us));
    } else {
        buf_add_format(out, "%s{\"dimension\":\"%s\",\"from\":\"%s\",\"remaining\":%lld",
                       *count ? "," : "", name, from, (long long)left);
        if (limit >= 0)
            buf_add_format(out, ",\"limit\":%lld", (long long)limit);
        if (wait_us)
            buf_add_format(out, ",\"reset\":%.3f", seconds(wait_us));
        buf_add_char(out, '}');
    }
    ++*count;
}

static void add_quotas(struct rows *rows, const struct lane *lane, struct buf *out)
{
    size_t count = 0;

    for (int i = 0; i < QUOTA_COUNT; i++) {
        int64_t left = quota_left(&lane->quotas[i], rows->now_us);
        if ((GET(lane->told) >> i & 1) && left >= 0)
            add_quota(rows, out, &count, quota_name((enum quota_dimension)i), "provider",
                      GET(lane->quotas[i].limit), left, GET(lane->quotas[i].reset_us));
    }
    for (int i = 0; i < WINDOW_COUNT; i++) {
        const struct window *window = &lane->windows[i];
        enum quota_dimension dimension = lane_dimension((enum lane_window)i);
        int64_t limit = GET(window->limit), left = limit - GET(window->used);
        if (limit)
            add_quota(
                rows, out, &count, quota_name(dimension), "configuration", limit,
                left > 0 ? left : 0,
                window_free_us(window, quota_period_us(dimension), limit, left > 0 ? left + 1 : 1));
    }
}

/* ---- rows ---- */

static void add_line(struct rows *rows, const struct lane *lane, const char *state,
                     const struct limits_wait *wait, struct buf *out)
{
    char name[LANE_NAME + 1], key[12] = "any";

    snprintf(name, sizeof name, "%.*s", (int)lane->name_len, lane->name);
    if (lane->key)
        snprintf(key, sizeof key, "%d", (int)lane->key);
    buf_add_format(out, "%-40s %4s  %-9s %9d  ", name, key, state, (int)GET(lane->inflight));
    if (GET(lane->latency_us))
        buf_add_format(out, "%6.2f s", seconds(GET(lane->latency_us)));
    else
        buf_add_format(out, "%8s", "-");
    if (wait->block == LIMITS_COOLS)
        buf_add_format(out, "  %s for %.0f s", wait->reason,
                       seconds(wait->until_us - rows->now_us));
    else if (wait->block == LIMITS_PROBED)
        buf_add_format(out, "  %s, being tried", wait->reason);
    add_quotas(rows, lane, out);
    buf_add_char(out, '\n');
}

static void add_object(struct rows *rows, const struct lane *lane, const char *state,
                       const struct limits_wait *wait, struct buf *out)
{
    buf_add_text(out, "{\"target\":");
    json_quote(out, (struct slice){lane->name, (size_t)lane->name_len});
    if (lane->key)
        buf_add_format(out, ",\"key\":%d", (int)lane->key);
    buf_add_format(out, ",\"state\":\"%s\",\"in_flight\":%d", state, (int)GET(lane->inflight));
    if (GET(lane->latency_us))
        buf_add_format(out, ",\"latency\":%.6f", seconds(GET(lane->latency_us)));
    if (wait->block == LIMITS_COOLS || wait->block == LIMITS_PROBED) {
        bool is_probed = wait->block == LIMITS_PROBED;
        buf_add_text(out, ",\"cooldown\":{\"reason\":");
        json_quote(out, slice_of(wait->reason));
        if (lane->dimension[0]) {
            buf_add_text(out, ",\"dimension\":");
            json_quote(out, slice_of(lane->dimension));
        }
        buf_add_format(out, ",\"seconds\":%.3f,\"probing\":%s}",
                       is_probed ? 0 : seconds(wait->until_us - rows->now_us),
                       is_probed ? "true" : "false");
    }
    buf_add_text(out, ",\"quotas\":[");
    add_quotas(rows, lane, out);
    buf_add_text(out, "]}");
}

/* A lane of a target or of a key is a row of its own only where it says what the others do not. */
static bool says_more(const struct lane *lane)
{
    bool has_limits = GET(lane->told) || GET(lane->concurrent);

    if (lane->key && lane->name_len > lane->provider_len)
        return true;
    for (int i = 0; i < WINDOW_COUNT; i++)
        has_limits = has_limits || GET(lane->windows[i].limit);
    return GET(lane->until_us) || (lane->key && has_limits);
}

static void add_row(void *arg, struct lane *lane)
{
    struct rows *rows = arg;
    struct limits_wait wait = {.block = LIMITS_FREE};

    if (!says_more(lane))
        return;
    const char *state = state_of(lane, rows->now_us, &wait);
    rows->list = mem_resize(rows->list, (rows->count + 1) * sizeof *rows->list);
    struct row *row = &rows->list[rows->count++];
    row->text = (struct buf){0};
    snprintf(row->name, sizeof row->name, "%.*s\t%03d", (int)lane->name_len, lane->name,
             (int)lane->key);
    if (rows->as_text)
        add_line(rows, lane, state, &wait, &row->text);
    else
        add_object(rows, lane, state, &wait, &row->text);
}

static int compare(const void *one, const void *other)
{
    return strcmp(((const struct row *)one)->name, ((const struct row *)other)->name);
}

void limits_show(struct limits *limits, bool as_text, int64_t now_us, struct buf *out)
{
    struct rows rows = {.as_text = as_text, .now_us = now_us};

    lanes_each(limits_lanes(limits), add_row, &rows);
    if (rows.count)
        qsort(rows.list, rows.count, sizeof *rows.list, compare);
    if (as_text)
        buf_add_format(out, "%-40s %4s  %-9s %9s  %8s\n", "TARGET", "KEY", "STATE", "IN FLIGHT",
                       "LATENCY");
    else
        buf_add_text(out, "{\"limits\":[");
    for (size_t i = 0; i < rows.count; i++) {
        if (i && !as_text)
            buf_add_char(out, ',');
        buf_add(out, buf_slice(&rows.list[i].text));
        buf_free(&rows.list[i].text);
    }
    mem_free(rows.list);
    buf_add_text(out, as_text ? "" : "]}");
}
