/* bill_refusal.c -- why a request is not served, in words for its client, and counted. */
/* SPDX-License-Identifier: MIT */
#include "bill_own.h"
#include "leaves/loop.h"
#include "metrics/tally.h"
#include <stdio.h>

void bills_meter(struct bills *bills, struct tallies *tallies)
{
    static const char *const limits[BILL_LIMITS] = {[BUDGET_SPENT] = "budget",
                                                    [BUDGET_RPM] = "rpm",
                                                    [BUDGET_TPM] = "tpm",
                                                    [BUDGET_CONCURRENT] = "concurrent"};
    char name[96];

    if (bills->unavailable)
        return;
    for (int i = 0; i < 2; i++) {
        for (int j = BUDGET_SPENT; j < BILL_LIMITS; j++) {
            snprintf(name, sizeof name, "weir_key_refused_total{limit=\"%s\",scope=\"%s\"}",
                     limits[j], i ? "team" : "key");
            bills->refused[i][j] = tally_of(tallies, TALLY_COUNT, slice_of(name));
        }
    }
    bills->unavailable = tally_of(tallies, TALLY_COUNT, SLICE("weir_ledger_refused_total"));
    bills->unrecorded = tally_of(tallies, TALLY_COUNT, SLICE("weir_ledger_unrecorded_total"));
}

enum { MODEL_SHOWN = 100 }; /* bytes of a name that a client chose */

static void count(struct tally *tally)
{
    if (tally)
        tally_count(tally, 1);
}

/* ---- refusals ---- */

void bill_say_money(char *to, size_t size, int64_t micro)
{
    snprintf(to, size, "$%lld.%06lld", (long long)(micro / 1000000), (long long)(micro % 1000000));
    size_t len = strlen(to);
    while (to[len - 1] == '0' && to[len - 3] != '.')
        to[--len] = '\0';
}

static void say_renewal(struct bill_refusal *out, int64_t wait_us)
{
    size_t len = strlen(out->message);
    char when[LOOP_UTC_SIZE];

    if (wait_us < 0) {
        snprintf(out->message + len, sizeof out->message - len, "; it does not renew");
        return;
    }
    loop_utc(when, (int64_t)(loop_wall_seconds() + (double)wait_us / 1e6));
    snprintf(out->message + len, sizeof out->message - len, "; it renews at %s", when);
}

static void say_spent(struct bill_refusal *out, const char *whose, const char *name,
                      const struct budget_refusal *seen)
{
    char limit[32], spent[32], needed[32];

    bill_say_money(limit, sizeof limit, seen->limit);
    bill_say_money(spent, sizeof spent, seen->spent);
    bill_say_money(needed, sizeof needed, seen->needed);
    out->type = out->code = "insufficient_quota";
    if (seen->needed)
        snprintf(out->message, sizeof out->message,
                 "the budget of the %s '%s' is %s, of which %s is spent or reserved: this request "
                 "may cost %s",
                 whose, name, limit, spent, needed);
    else
        snprintf(out->message, sizeof out->message, "the budget of the %s '%s' is spent: %s of %s",
                 whose, name, spent, limit);
    say_renewal(out, seen->wait_us);
}

static void refuse_for_now(struct bill_refusal *out, const char *message)
{
    *out = (struct bill_refusal){
        .status = 503, .type = "server_error", .code = "ledger_unavailable", .retry_s = 5};
    snprintf(out->message, sizeof out->message, "%s", message);
}

void bill_refuse(struct bills *bills, const struct budget_refusal *seen, bool is_team,
                 struct bill_refusal *out)
{
    static const char *const limits[][2] = {[BUDGET_RPM] = {"request", "a minute"},
                                            [BUDGET_TPM] = {"token", "a minute"},
                                            [BUDGET_CONCURRENT] = {"request", "at once"}};
    static const char *const words[2][BILL_LIMITS] = {{[BUDGET_SPENT] = "insufficient_quota",
                                                       [BUDGET_RPM] = "key_rpm",
                                                       [BUDGET_TPM] = "key_tpm",
                                                       [BUDGET_CONCURRENT] = "key_concurrent"},
                                                      {[BUDGET_SPENT] = "insufficient_quota",
                                                       [BUDGET_RPM] = "team_rpm",
                                                       [BUDGET_TPM] = "team_tpm",
                                                       [BUDGET_CONCURRENT] = "team_concurrent"}};
    const char *whose = is_team ? "team" : "key";
    struct keys_account account = {0};

    keys_get(bills->keys, seen->number, &account);
    *out = (struct bill_refusal){.status = 429};
    if (seen->word != BUDGET_UNKNOWN)
        count(bills->refused[is_team][seen->word]);
    if (seen->word == BUDGET_UNKNOWN) {
        refuse_for_now(out, "what this key may do is being changed; try again");
        return;
    }
    out->word = words[is_team][seen->word];
    if (seen->wait_us >= 0)
        out->retry_s =
            seen->wait_us / 1000000 < 86400 ? (int)((seen->wait_us + 999999) / 1000000) : 86400;
    if (seen->word == BUDGET_SPENT) {
        say_spent(out, whose, account.name, seen);
        return;
    }
    out->type = "rate_limit_error";
    out->code = "rate_limit_exceeded";
    snprintf(out->message, sizeof out->message,
             "the %s '%s' may have %lld %s%s %s; try again in %d s", whose, account.name,
             (long long)seen->limit, limits[seen->word][0], seen->limit == 1 ? "" : "s",
             limits[seen->word][1], out->retry_s);
}

bool bill_refuse_unrecorded(struct bills *bills, const struct keys_account *account,
                            struct bill_refusal *out)
{
    struct keys_account team = {0};

    if (!keys_get(bills->keys, account->team, &team))
        team.has_budget = account->team != 0; /* it may have one */
    bool is_refused = account->has_budget || team.has_budget;
    count(is_refused ? bills->unavailable : bills->unrecorded);
    if (!is_refused)
        return false;
    refuse_for_now(out, "what this request costs could not be recorded; keys with a budget wait "
                        "until it can");
    return true;
}

void bill_refuse_model(const struct bills *bills, const struct keys_account *account,
                       struct slice model, struct bill_refusal *out)
{
    struct keys_account team = {0};
    bool is_team = keys_allow(account, model) && keys_get(bills->keys, account->team, &team);
    struct slice shown = slice_cut(model, MODEL_SHOWN);

    *out = (struct bill_refusal){.status = 403,
                                 .type = "invalid_request_error",
                                 .code = "model_not_allowed",
                                 .param = "model",
                                 .word = is_team ? "team_model" : "key_model"};
    snprintf(
        out->message, sizeof out->message,
        "the %s '%s' may not ask for the model '%.*s'; GET /v1/models lists those that this key "
        "may",
        is_team ? "team" : "key", is_team ? team.name : account->name, (int)shown.len, shown.ptr);
}
