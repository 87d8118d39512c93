/* bill.c -- slots of the journal, opened and closed around the changes of budgets.
 *
 *   journal_take -> fields -> budget_… -> OPEN ... fields -> op, SETTLING -> budget_… -> CLOSED
 *
 * Whenever this process dies the clerk finds the slot and knows which half was done. */
/* SPDX-License-Identifier: MIT */
#include "bill_own.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include <errno.h>
#include <stdio.h>

enum {
    BYTES_A_TOKEN = 3,      /* rather too many tokens than too few */
    TOKENS_MAX = 1000000000 /* of a limit, of which windows hold two (clerk_words.lua) */
};

static const int64_t PRODUCT_MAX = 1000000000000000000;
static const int64_t RETRY_US = 1000000; /* to make a journal that could not be made */
static const int64_t SAY_US = 60 * 1000000;

struct bill_item {
    struct bill *bill;
    int at;
    struct bill_price price;
    struct bill_need need;
};

/* ---- a worker's ---- */

struct bills *bills_new(struct keys *keys, struct budget *budget, const char *journals)
{
    struct bills *bills = mem_new(sizeof *bills);

    bills->keys = keys;
    bills->budget = budget;
    bills->journals = mem_dup(slice_of(journals));
    bills->seat = -1;
    return bills;
}

void bills_free(struct bills *bills)
{
    if (!bills)
        return;
    journal_free(bills->journal);
    mem_free(bills->loose);
    mem_free(bills->journals);
    mem_free(bills);
}

bool bills_are_ready(const struct bills *bills)
{
    return budget_is_loaded(bills->budget);
}

bool bills_find(struct bills *bills, struct slice key, struct keys_account *account)
{
    unsigned char digest[SHA256_BYTES];

    if (!bills_are_ready(bills)) /* keys come first, what they have spent then */
        return false;
    sha256(key, digest);
    return keys_find(bills->keys, digest, loop_wall_us() / 1000000, account);
}

bool bills_get(struct bills *bills, int32_t number, struct keys_account *account)
{
    return bills_are_ready(bills) && keys_get(bills->keys, number, account) &&
           keys_is_open(account, loop_wall_us() / 1000000);
}

bool bills_allow(const struct bills *bills, const struct keys_account *account, struct slice model)
{
    struct keys_account team;

    return keys_allow(account, model) &&
           (!keys_get(bills->keys, account->team, &team) || keys_allow(&team, model));
}

/* Not a line a request: what is in the way may be so for hours. */
static void log_missing(struct bills *bills, const char *why)
{
    int64_t now_us = loop_now_us();

    if (now_us < bills->say_at_us)
        return;
    bills->say_at_us = now_us + SAY_US;
    struct log_line line = log_begin(LOG_ERROR, "journal_unavailable");
    log_str(&line, "error", why);
    log_end(&line);
}

/* The journal is made when it is needed first. */
static bool has_journal(struct bills *bills)
{
    int64_t now_us = loop_now_us();

    if (bills->journal || now_us < bills->retry_at_us)
        return bills->journal != NULL;
    bills->retry_at_us = now_us + RETRY_US;
    if (bills->seat < 0)
        bills->seat = budget_sit(bills->budget);
    if (bills->seat >= 0)
        bills->journal = journal_new(bills->journals, budget_run(bills->budget), bills->seat);
    if (bills->journal)
        return true;
    log_missing(bills, bills->seat < 0 ? "too many workers" : strerror(errno));
    if (bills->seat >= 0) /* without a journal nobody would find out that this worker died */
        budget_stand(bills->budget, bills->seat);
    bills->seat = -1;
    return false;
}

void bill_set_text(char *to, size_t size, struct slice text)
{
    struct slice part = slice_cut(text, size - 1);

    if (part.len)
        memcpy(to, part.ptr, part.len);
    to[part.len] = '\0';
}

/* A slot of these two payers; -1: there is no room. */
static int take(struct bills *bills, const struct keys_account *account, const char *id)
{
    int at = has_journal(bills) ? journal_take(bills->journal) : -1;

    if (at < 0) {
        log_missing(bills, "no room: the ledger does not take what is in the journal");
        return -1;
    }
    struct journal_slot *slot = journal_slot(bills->journal, at);
    slot->account = account->number;
    slot->team = account->team;
    slot->started_us = loop_wall_us();
    slot->prompt = slot->completion = slot->cached = slot->reasoning = -1;
    slot->first_ms = slot->total_ms = -1;
    bill_set_text(slot->request, sizeof slot->request, slice_of(id));
    return at;
}

static struct journal_slot *slot_of(const struct bills *bills, int at)
{
    return journal_slot(bills->journal, at);
}

/* ---- a request's ---- */

struct bill *bill_make(struct bills *bills, const struct keys_account *account, int at)
{
    struct bill *bill = mem_new(sizeof *bill);

    bill->bills = bills;
    bill->account = *account;
    bill->at = at;
    bill->users = 1;
    bill->usage = chunk_usage_none();
    return bill;
}

bool bill_open(struct bills *bills, const struct keys_account *account,
               const struct bill_request *request, struct bill **bill, struct bill_refusal *refusal)
{
    struct budget_refusal seen = {0};

    *bill = NULL;
    if (!bills_allow(bills, account, request->model)) {
        bill_refuse_model(bills, account, request->model, refusal);
        bill_record_refusal(bills, account, request, refusal);
        return false;
    }
    int64_t tokens = request->tokens < TOKENS_MAX ? request->tokens : TOKENS_MAX;
    int at = take(bills, account, request->id);
    if (at < 0)
        return bill_open_unrecorded(bills, account, tokens, bill, refusal);
    struct journal_slot *slot = slot_of(bills, at);
    slot->endpoint = request->endpoint;
    slot->generation = request->generation;
    bill_set_text(slot->model, sizeof slot->model, request->model);
    if (!budget_enter(bills->budget, bills->seat, slot, tokens, loop_now_us(),
                      slot->started_us / 1000000, &seen)) {
        journal_set(bills->journal, at, SLOT_FREE);
        bill_refuse(bills, &seen, seen.number != account->number, refusal);
        bill_record_refusal(bills, account, request, refusal);
        return false;
    }
    journal_set(bills->journal, at, SLOT_OPEN);
    *bill = bill_make(bills, account, at);
    return true;
}

bool bill_is_recorded(const struct bill *bill)
{
    return bill->at >= 0;
}

const struct keys_account *bill_account(const struct bill *bill)
{
    return &bill->account;
}

const char *bill_team(const struct bill *bill)
{
    static struct keys_account team;

    return keys_get(bill->bills->keys, bill->account.team, &team) ? team.name : NULL;
}

int64_t bill_left(const struct bill *bill)
{
    return budget_left(bill->bills->budget, &bill->account, loop_wall_us() / 1000000);
}

static bool is_low(const struct bill *bill, int32_t number)
{
    struct keys_account account;

    if (!keys_get(bill->bills->keys, number, &account) || !account.has_budget)
        return false;
    struct budget_purse purse = budget_look(bill->bills->budget, number, loop_wall_us() / 1000000);
    return account.warns_at < account.budget && purse.spent >= account.warns_at;
}

int64_t bill_cost_so_far(const struct bill *bill)
{
    return bill ? bill->cost : 0;
}

bool bill_is_low(const struct bill *bill)
{
    return is_low(bill, bill->account.number) || is_low(bill, bill->account.team);
}

bool bill_is_under_way(const struct bill *bill)
{
    return bill && bill->users > 1;
}

void bill_end(struct bill *bill, int status, const char *code, struct slice target,
              int64_t first_ms, int64_t total_ms)
{
    if (!bill_is_recorded(bill))
        return;
    struct journal_slot *slot = slot_of(bill->bills, bill->at);
    slot->status = status;
    slot->first_ms = first_ms;
    slot->total_ms = total_ms;
    bill_set_text(slot->code, sizeof slot->code, slice_of(code));
    bill_set_text(slot->target, sizeof slot->target, target);
}

static void release(struct bill *bill)
{
    if (--bill->users == 0)
        mem_free(bill);
}

static void fill_usage(struct journal_slot *slot, const struct chunk_usage *usage, int64_t cost,
                       bool is_estimated)
{
    slot->prompt = usage->prompt;
    slot->completion = usage->completion;
    slot->cached = usage->cached;
    slot->reasoning = usage->reasoning;
    slot->cost = cost;
    slot->is_estimated = is_estimated;
}

/* From here on a death is settled with what the slot says. */
static void settling(struct bills *bills, int at)
{
    struct journal_slot *slot = slot_of(bills, at);

    slot->ended_us = loop_wall_us();
    slot->op = budget_next(bills->budget, bills->seat);
    journal_set(bills->journal, at, SLOT_SETTLING);
}

void bill_close(struct bill *bill)
{
    if (!bill)
        return;
    struct bills *bills = bill->bills;
    if (!bill_is_recorded(bill)) {
        bill_leave_unrecorded(bill);
        release(bill);
        return;
    }
    struct journal_slot *slot = slot_of(bills, bill->at);
    fill_usage(slot, &bill->usage, bill->cost, bill->is_estimated);
    slot->number = bill->items;
    settling(bills, bill->at);
    budget_leave(bills->budget, bills->seat, slot, bill->tokens, loop_now_us());
    journal_set(bills->journal, bill->at, SLOT_CLOSED);
    release(bill);
}

/* ---- an attempt's ---- */

/* Millionths of a micro-dollar: a million dollars at most, so that sums of them fit. */
static int64_t product(int64_t tokens, int64_t price)
{
    int64_t product = 0;

    if (tokens > 0 && (__builtin_mul_overflow(tokens, price, &product) || product > PRODUCT_MAX))
        return PRODUCT_MAX;
    return product;
}

int64_t bill_cost(const struct bill_price *price, const struct chunk_usage *usage)
{
    int64_t cached = usage->cached > 0 ? usage->cached : 0;
    int64_t reasoning = usage->reasoning > 0 ? usage->reasoning : 0;

    if (cached > usage->prompt) /* it is a part of it, as reasoning is of the completion */
        cached = usage->prompt > 0 ? usage->prompt : 0;
    if (reasoning > usage->completion)
        reasoning = usage->completion > 0 ? usage->completion : 0;
    int64_t sum = product(usage->prompt - cached, price->input) + product(cached, price->cached) +
                  product(usage->completion - reasoning, price->output) +
                  product(reasoning, price->reasoning);
    return (sum + 999999) / 1000000;
}

static int64_t cost_of_need(const struct bill_price *price, struct bill_need need)
{
    struct bill_price dearest = *price;
    struct chunk_usage usage = {.prompt = need.prompt, .completion = need.completion};

    if (dearest.cached > dearest.input)
        dearest.input = dearest.cached;
    if (dearest.reasoning > dearest.output)
        dearest.output = dearest.reasoning;
    return bill_cost(&dearest, &usage);
}

bool bill_send(struct bill *bill, struct slice target, const struct bill_price *price,
               struct bill_need need, struct bill_item **item, struct bill_refusal *refusal)
{
    struct budget_refusal seen;

    *item = NULL;
    if (!bill || !bill_is_recorded(bill))
        return true;
    struct bills *bills = bill->bills;
    int at = take(bills, &bill->account, slot_of(bills, bill->at)->request);
    if (at < 0)
        return !bill_refuse_unrecorded(bills, &bill->account, refusal);
    struct journal_slot *slot = slot_of(bills, at);
    slot->is_attempt = 1;
    slot->number = bill->items + 1;
    slot->reserved = cost_of_need(price, need);
    memcpy(slot->model, slot_of(bills, bill->at)->model, sizeof slot->model);
    bill_set_text(slot->target, sizeof slot->target, target);
    bill_set_text(slot->code, sizeof slot->code, SLICE("cancelled"));
    if (!budget_reserve(bills->budget, bills->seat, slot, slot->started_us / 1000000, &seen)) {
        journal_set(bills->journal, at, SLOT_FREE);
        bill_refuse(bills, &seen, seen.number != bill->account.number, refusal);
        return false;
    }
    journal_set(bills->journal, at, SLOT_OPEN);
    bill->items++;
    bill->users++;
    *item = mem_new(sizeof **item);
    **item = (struct bill_item){.bill = bill, .at = at, .price = *price, .need = need};
    return true;
}

void bill_item_note(struct bill_item *item, const char *code)
{
    if (item)
        snprintf(slot_of(item->bill->bills, item->at)->code,
                 sizeof slot_of(item->bill->bills, item->at)->code, "%s", code);
}

/* Some tell what was thought apart from the answer, in the total alone or in the details: xAI
 * (https://docs.x.ai/docs/models, "reasoning tokens"), Gemini's compatible endpoint.  Of embeddings
 * there is no answer to tell of. */
static void complete(struct chunk_usage *usage, const struct bill_need *need)
{
    int64_t rest = usage->total - usage->prompt;

    if (usage->prompt >= 0 && rest > usage->completion)
        usage->completion = rest;
    else if (usage->total < 0 && usage->completion >= 0 && usage->reasoning > usage->completion)
        usage->completion += usage->reasoning;
    if (need->completion > 0)
        return;
    if (usage->completion < 0)
        usage->completion = 0;
    if (usage->prompt < 0)
        usage->prompt = usage->total;
}

static int64_t tokens_of(int64_t bytes)
{
    return (bytes + BYTES_A_TOKEN - 1) / BYTES_A_TOKEN;
}

/* What is charged: the provider's word, completed by what we saw where it did not come; true when
 * some of it is guessed. */
static bool reckon(const struct bill_item *item, const struct bill_outcome *outcome,
                   struct chunk_usage *usage)
{
    *usage = outcome->usage;
    bool is_told = usage->prompt >= 0 || usage->completion >= 0;
    if (!outcome->was_sent || (outcome->was_refused && !is_told))
        return false; /* nobody charges for these */
    complete(usage, &item->need);
    bool has_prompt = usage->prompt >= 0, has_answer = usage->completion >= 0;
    if (!has_prompt)
        usage->prompt = item->need.prompt;
    if (outcome->was_refused)
        return !has_prompt;
    if (!has_answer)
        usage->completion = tokens_of(outcome->said_bytes);
    else
        usage->completion += tokens_of(outcome->untold_bytes);
    return !has_prompt || !has_answer || outcome->untold_bytes > 0;
}

/* A provider that says what it charges knows best, unless weir.lua says otherwise; of what came
 * after it said so it knows nothing yet. */
static int64_t cost_of(const struct bill_item *item, const struct bill_outcome *outcome,
                       const struct chunk_usage *usage)
{
    int64_t cost = bill_cost(&item->price, usage);

    if (outcome->told_cost < 0 || item->price.is_own)
        return cost;
    return outcome->untold_bytes > 0 && cost > outcome->told_cost ? cost : outcome->told_cost;
}

static void add_up(struct bill *bill, const struct journal_slot *slot,
                   const struct chunk_usage *usage)
{
    chunk_usage_add(&bill->usage, usage);
    bill->cost += slot->cost;
    bill->tokens +=
        (usage->prompt > 0 ? usage->prompt : 0) + (usage->completion > 0 ? usage->completion : 0);
    bill->is_estimated = bill->is_estimated || slot->is_estimated;
}

int64_t bill_item_end(struct bill_item *item, const struct bill_outcome *outcome)
{
    struct chunk_usage usage;

    if (!item)
        return 0;
    struct bills *bills = item->bill->bills;
    struct journal_slot *slot = slot_of(bills, item->at);
    bool is_estimated = reckon(item, outcome, &usage);
    int64_t cost = cost_of(item, outcome, &usage);
    fill_usage(slot, &usage, cost, is_estimated);
    slot->status = outcome->status;
    slot->first_ms = outcome->first_ms;
    slot->total_ms = outcome->total_ms;
    settling(bills, item->at);
    budget_settle(bills->budget, bills->seat, slot, slot->ended_us / 1000000);
    add_up(item->bill, slot, &usage);
    journal_set(bills->journal, item->at, SLOT_CLOSED);
    release(item->bill);
    mem_free(item);
    return cost;
}

void bill_item_drop(struct bill_item *item)
{
    struct bill_outcome outcome = {
        .usage = chunk_usage_none(), .told_cost = -1, .first_ms = -1, .total_ms = -1};

    bill_item_end(item, &outcome);
}
