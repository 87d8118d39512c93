/* bill_card.c -- what a key's own client is told of it: limits, what is spent and what is left. */
/* SPDX-License-Identifier: MIT */
#include "bill_own.h"
#include "leaves/loop.h"
#include "parsers/json.h"
#include <stdio.h>

static void add_text(struct buf *json, const char *name, const char *text)
{
    buf_add_format(json, ",\"%s\":", name);
    if (text)
        json_quote(json, slice_of(text));
    else
        buf_add_text(json, "null");
}

/* 0: there is none. */
static void add_time(struct buf *json, const char *name, int64_t at_s)
{
    char text[LOOP_UTC_SIZE];

    loop_utc(text, at_s);
    add_text(json, name, at_s ? text : NULL);
}

static void add_limit(struct buf *json, const char *name, int64_t limit)
{
    if (limit)
        buf_add_format(json, ",\"%s\":%lld", name, (long long)limit);
    else
        add_text(json, name, NULL);
}

/* In dollars, exactly; less than 0: none. */
static void add_money(struct buf *json, const char *name, int64_t micro)
{
    if (micro >= 0)
        buf_add_format(json, ",\"%s\":%lld.%06lld", name, (long long)(micro / 1000000),
                       (long long)(micro % 1000000));
    else
        add_text(json, name, NULL);
}

void bills_show(const struct bills *bills, const struct keys_account *account, struct buf *json)
{
    struct keys_account team = {0};
    int64_t now_s = (int64_t)loop_wall_seconds();
    struct budget_purse purse = budget_look(bills->budget, account->number, now_s);
    bool has_team = keys_get(bills->keys, account->team, &team);

    buf_add_text(json, "{\"object\":\"key\"");
    add_text(json, "name", account->name);
    add_text(json, "team", has_team ? team.name : NULL);
    add_limit(json, "rpm", account->rpm);
    add_limit(json, "tpm", account->tpm);
    add_limit(json, "concurrent", account->concurrent);
    add_money(json, "budget_usd", account->has_budget ? account->budget : -1);
    add_text(json, "period", account->has_budget ? account->period : NULL);
    add_money(json, "spent_usd", purse.spent);
    add_money(json, "reserved_usd", purse.reserved);
    add_money(json, "left_usd", budget_left(bills->budget, account, now_s));
    add_time(json, "renews", account->has_budget ? purse.renews_s : 0);
    add_time(json, "expires", account->expires_s);
    buf_add_char(json, '}');
}
