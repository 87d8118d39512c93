/* trail.c -- what was tried, for policies, clients and the log. */
/* SPDX-License-Identifier: MIT */
#include "trail.h"
#include "attempt.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "meter.h"
#include <stdio.h>

static void log_item(const struct trail_item *item, const char *id, const struct attempt *attempt,
                     const char *message, bool alarm)
{
    enum log_level level = alarm ? LOG_ERROR : LOG_INFO;

    if (!log_wants(level))
        return;
    struct log_line line = log_begin(level, "attempt");
    log_str(&line, "id", id);
    log_str(&line, "target", item->target);
    log_str(&line, "outcome", item->code);
    if (item->key)
        log_int(&line, "provider_key", item->key);
    if (item->status)
        log_int(&line, "status", item->status);
    if (attempt_open_us(attempt) >= 0)
        log_ms(&line, "connect_ms", attempt_open_us(attempt));
    if (attempt_commit_us(attempt) >= 0)
        log_ms(&line, "first_ms", attempt_commit_us(attempt));
    log_ms(&line, "ms", attempt_age_us(attempt));
    log_str(&line, "message", message);
    if (alarm)
        log_bool(&line, "alarm", true);
    log_end(&line);
}

void trail_add(struct trail *trail, const char *id, struct attempt *attempt, const char *code,
               int status, int64_t again_us, const char *message, bool alarm)
{
    meter_attempt(attempt_provider(attempt)->meter, code, attempt_age_us(attempt));
    if (trail->count >= TRAIL_MAX)
        return;
    trail->items = mem_resize(trail->items, (trail->count + 1) * sizeof *trail->items);
    struct trail_item *item = &trail->items[trail->count++];

    item->target = mem_dup(attempt_target(attempt));
    text_copy(item->code, sizeof item->code, code);
    item->key = attempt_provider(attempt)->keys ? attempt_grant(attempt)->key : 0;
    item->status = status;
    item->ms = attempt_age_us(attempt) / 1000;
    item->again_us = again_us;
    log_item(item, id, attempt, message, alarm);
}

/* Those that lost a race with it may have come later. */
void trail_break(struct trail *trail, const char *id, struct attempt *attempt, const char *message)
{
    struct slice target = attempt_target(attempt);
    struct trail_item broken = {.target = mem_dup(target), .code = "broken"};

    meter_attempt(attempt_provider(attempt)->meter, "broken", attempt_age_us(attempt));
    for (size_t i = trail->count; i-- > 0;) {
        struct trail_item *item = &trail->items[i];
        if (strcmp(item->code, "ok") != 0)
            continue;
        snprintf(item->code, sizeof item->code, "broken");
        break;
    }
    log_item(&broken, id, attempt, message, false);
    mem_free(broken.target);
}

size_t trail_entries(const struct trail *trail, const struct policy_trail_entry **entries)
{
    static struct policy_trail_entry shown[TRAIL_MAX];
    int64_t now_us = loop_now_us();

    for (size_t i = 0; i < trail->count; i++) {
        const struct trail_item *item = &trail->items[i];
        double wait = item->again_us ? (double)(item->again_us - now_us) / 1e6 : -1;
        shown[i] = (struct policy_trail_entry){
            slice_of(item->target), item->code, item->key,
            item->status,           item->ms,   item->again_us && wait < 0 ? 0 : wait};
    }
    *entries = shown;
    return trail->count;
}

void trail_free(struct trail *trail)
{
    for (size_t i = 0; i < trail->count; i++)
        mem_free(trail->items[i].target);
    mem_free(trail->items);
    *trail = (struct trail){0};
}
