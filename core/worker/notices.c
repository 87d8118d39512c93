/* notices.c -- from the places of budget_notice.c to words.
 *
 * A notice is said, and counted, once; where there is a webhook it is sent until it is taken or
 * given up, by whichever worker has nothing else to send. */
/* SPDX-License-Identifier: MIT */
#include "notices.h"
#include "accounts/bill.h"
#include "accounts/budget.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "metrics/tally.h"
#include "parsers/json.h"
#include "policy/config.h"
#include "webhook.h"
#include <event2/event.h>
#include <event2/event_struct.h>

enum { LOOK_US = 100 * 1000 };

enum { SENT, FAILED, RESULTS };

struct notices {
    struct notices_settings with;
    struct webhook *webhook;
    int at; /* the place of what the webhook sends */
    struct budget_notice sending;
    struct event timer;
    struct tally *told[2][2]; /* by whether it is gone, and a team's; NULL: no ledger yet */
    struct tally *sent[RESULTS];
};

struct subject { /* whose budget it is */
    struct keys_account own, team;
    bool is_team;
};

static const char *const events[] = {[BUDGET_LOW] = "budget_low", [BUDGET_GONE] = "budget_spent"};

static bool read_subject(struct notices *notices, int32_t number, struct subject *subject)
{
    *subject = (struct subject){0};
    if (!keys_get(notices->with.keys, number, &subject->own))
        return false;
    subject->is_team = subject->own.is_team;
    if (!keys_get(notices->with.keys, subject->own.team, &subject->team))
        subject->team.number = 0;
    return true;
}

/* ---- words ---- */

static void add_money(struct buf *out, int64_t micro)
{
    char text[32];

    bill_say_money(text, sizeof text, micro);
    buf_add_text(out, text);
}

static bool renewal(const struct budget_notice *notice, char to[LOOP_UTC_SIZE])
{
    loop_utc(to, notice->renews_s);
    return notice->renews_s != 0;
}

/* A sentence for chats. */
static void add_text(struct buf *out, const struct subject *subject,
                     const struct budget_notice *notice)
{
    const char *whose = subject->is_team ? "team" : "key", *period = subject->own.period;
    char when[LOOP_UTC_SIZE];

    if (notice->event == BUDGET_LOW)
        buf_add_format(out, "Weir: the %s '%s' has spent ", whose, subject->own.name);
    else
        buf_add_format(out, "Weir: requests of the %s '%s' are refused: it has spent ", whose,
                       subject->own.name);
    add_money(out, notice->spent);
    if (notice->event == BUDGET_GONE && notice->reserved) {
        buf_add_text(out, ", and reserved ");
        add_money(out, notice->reserved);
        buf_add_char(out, ',');
    }
    buf_add_text(out, " of ");
    add_money(out, notice->budget);
    if (strcmp(period, "total") != 0 && period[0])
        buf_add_format(out, " a %s", period);
    if (renewal(notice, when))
        buf_add_format(out, "; it renews at %s", when);
}

static void add_member(struct buf *out, const char *name, const char *value)
{
    buf_add_format(out, ",\"%s\":", name);
    json_quote(out, slice_of(value));
}

static void add_json(struct buf *out, const struct subject *subject,
                     const struct budget_notice *notice)
{
    struct buf text = {0};
    char when[LOOP_UTC_SIZE];

    add_text(&text, subject, notice);
    buf_add_text(out, "{\"text\":");
    json_quote(out, buf_slice(&text));
    buf_free(&text);
    add_member(out, "event", events[notice->event]);
    add_member(out, "scope", subject->is_team ? "team" : "key");
    add_member(out, subject->is_team ? "team" : "key", subject->own.name);
    if (subject->team.number)
        add_member(out, "team", subject->team.name);
    buf_add_format(out, ",\"spent\":%lld,\"reserved\":%lld,\"budget\":%lld",
                   (long long)notice->spent, (long long)notice->reserved,
                   (long long)notice->budget);
    add_member(out, "period", subject->own.period);
    if (renewal(notice, when))
        add_member(out, "renews", when);
    buf_add_char(out, '}');
}

/* ---- the log, the metrics ---- */

static void log_notice(const struct subject *subject, const struct budget_notice *notice)
{
    struct log_line line = log_begin(LOG_WARN, events[notice->event]);

    log_str(&line, "scope", subject->is_team ? "team" : "key");
    log_str(&line, "name", subject->own.name);
    log_int(&line, "spent", notice->spent);
    log_int(&line, "reserved", notice->reserved);
    log_int(&line, "budget", notice->budget);
    log_end(&line);
}

static void log_lost(struct notices *notices)
{
    uint64_t lost = budget_lost_notices(notices->with.budget);

    if (!lost)
        return;
    struct log_line line = log_begin(LOG_ERROR, "budget_notices_lost");
    log_int(&line, "count", (int64_t)lost);
    log_end(&line);
}

static struct tally *counter(struct notices *notices, const char *name)
{
    return tally_of(notices->with.tallies, TALLY_COUNT, slice_of(name));
}

/* From the start, so that the first one is an increase. */
static void find_series(struct notices *notices)
{
    if (notices->told[0][0])
        return;
    notices->told[0][0] = counter(notices, "weir_budget_soft_total{scope=\"key\"}");
    notices->told[0][1] = counter(notices, "weir_budget_soft_total{scope=\"team\"}");
    notices->told[1][0] = counter(notices, "weir_budget_spent_total{scope=\"key\"}");
    notices->told[1][1] = counter(notices, "weir_budget_spent_total{scope=\"team\"}");
    notices->sent[SENT] = counter(notices, "weir_webhook_total{result=\"ok\"}");
    notices->sent[FAILED] = counter(notices, "weir_webhook_total{result=\"failed\"}");
}

/* ---- the webhook ---- */

static const struct config_webhook *whom(void *arg)
{
    const struct notices *notices = arg;
    return &notices->with.config(notices->with.arg)->webhook;
}

static void on_sent(void *arg, const struct webhook_result *result)
{
    struct notices *notices = arg;

    budget_drop_notice(notices->with.budget, notices->at);
    notices->at = -1;
    tally_count(notices->sent[result->is_taken ? SENT : FAILED], 1);
    if (result->is_taken)
        return;
    struct log_line line = log_begin(LOG_ERROR, "webhook_failed");
    log_str(&line, "of", events[notices->sending.event]);
    log_int(&line, "tries", result->tries);
    if (result->status)
        log_int(&line, "status", result->status);
    log_str(&line, "error", result->why);
    log_end(&line);
}

static const struct webhook_owner owner = {whom, on_sent};

/* Where nobody is to be told any more it is dropped. */
static void send_next(struct notices *notices, bool is_told)
{
    struct subject subject;
    struct buf json = {0};

    if (webhook_is_busy(notices->webhook))
        return;
    int at = budget_take_notice(notices->with.budget, notices->with.worker, &notices->sending);
    if (at < 0)
        return;
    if (!is_told || !read_subject(notices, notices->sending.number, &subject)) {
        budget_drop_notice(notices->with.budget, at);
        return;
    }
    notices->at = at;
    add_json(&json, &subject, &notices->sending);
    webhook_send(notices->webhook, buf_slice(&json));
    buf_free(&json);
}

/* ---- looking ---- */

static void say(struct notices *notices, const struct budget_notice *notice)
{
    struct subject subject;

    if (!read_subject(notices, notice->number, &subject))
        return;
    tally_count(notices->told[notice->event == BUDGET_GONE][subject.is_team], 1);
    log_notice(&subject, notice);
}

static void on_look(evutil_socket_t fd, short what, void *arg)
{
    struct notices *notices = arg;
    const struct config *config = notices->with.config(notices->with.arg);
    bool is_told = config->webhook.base != NULL;
    struct budget_notice notice;

    if (!config->has_ledger)
        return;
    find_series(notices);
    while (budget_hear_notice(notices->with.budget, is_told, &notice))
        say(notices, &notice);
    log_lost(notices);
    send_next(notices, is_told);
}

/* What one of this number was sending, who is dead, is to be sent again. */
struct notices *notices_new(const struct notices_settings *settings)
{
    struct notices *notices = mem_new(sizeof *notices);
    struct timeval often = {0, LOOK_US};

    notices->with = *settings;
    notices->at = -1;
    notices->webhook = webhook_new(settings->base, settings->upstream, &owner, notices);
    budget_return_notices(settings->budget, settings->worker);
    if (settings->config(settings->arg)->has_ledger)
        find_series(notices);
    event_assign(&notices->timer, settings->base, -1, EV_PERSIST, on_look, notices);
    event_add(&notices->timer, &often);
    return notices;
}

void notices_free(struct notices *notices)
{
    if (!notices)
        return;
    event_del(&notices->timer);
    webhook_free(notices->webhook);
    budget_return_notices(notices->with.budget, notices->with.worker);
    mem_free(notices);
}
