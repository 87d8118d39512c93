/* estate.c -- slots closed in the place of the dead.
 *
 * A change of budgets has a number, which its slot says before it is made (budget_applied).  Of
 * two numbers the later one, once applied, makes the earlier one look so: hence what is in doubt
 * comes first.  There is one such slot at most, as whoever is killed was at one. */
/* SPDX-License-Identifier: MIT */
#include "estate.h"
#include "accounts/budget.h"
#include "leaves/loop.h"
#include <stdio.h>

bool estate_is_ours(const struct budget *budget, const struct journal *journal)
{
    return journal_run(journal) == budget_run(budget);
}

/* ---- of the dead ---- */

/* As its worker would have closed it, had it known no better: an attempt that left is charged what
 * it reserved, which the row says. */
static void fill(struct journal_slot *slot)
{
    if (slot->status == 0)
        snprintf(slot->code, sizeof slot->code, "worker_died");
    slot->ended_us = loop_wall_us();
    slot->total_ms = (slot->ended_us - slot->started_us) / 1000;
    slot->first_ms = slot->prompt = slot->completion = slot->cached = slot->reasoning = -1;
    slot->cost = slot->is_attempt ? slot->reserved : 0;
    slot->is_estimated = 1;
}

/* SETTLING: the slot says how it ended. */
static void finish(struct budget *budget, struct journal *journal, int at)
{
    struct journal_slot *slot = journal_slot(journal, at);
    int seat = journal_seat(journal);

    if (estate_is_ours(budget, journal) && !budget_applied(budget, seat, slot->op)) {
        if (slot->is_attempt)
            budget_settle(budget, seat, slot, slot->ended_us / 1000000);
        else
            budget_leave(budget, seat, slot, slot->tokens_held, loop_now_us());
    }
    journal_set(journal, at, SLOT_CLOSED);
}

/* Nothing was sent before it was OPEN; but what was counted has to be taken back. */
static void resolve_opening(struct budget *budget, struct journal *journal, int at)
{
    struct journal_slot *slot = journal_slot(journal, at);
    bool is_made =
        estate_is_ours(budget, journal) && budget_applied(budget, journal_seat(journal), slot->op);

    journal_set(journal, at, is_made ? SLOT_OPEN : SLOT_FREE);
}

static void close_open(struct budget *budget, struct journal *journal, int at)
{
    struct journal_slot *slot = journal_slot(journal, at);

    fill(slot);
    slot->op = estate_is_ours(budget, journal) ? budget_next(budget, journal_seat(journal)) : 0;
    journal_set(journal, at, SLOT_SETTLING);
    finish(budget, journal, at);
}

static void each(struct budget *budget, struct journal *journal, enum journal_state state,
                 void (*settle)(struct budget *budget, struct journal *journal, int at))
{
    for (int at = 0; at < JOURNAL_SLOTS; at++)
        if (journal_state(journal, at) == state)
            settle(budget, journal, at);
}

void estate_settle(struct budget *budget, struct journal *journal)
{
    each(budget, journal, SLOT_OPENING, resolve_opening);
    each(budget, journal, SLOT_SETTLING, finish);
    each(budget, journal, SLOT_OPEN, close_open);
}

/* ---- of foreign ones ---- */

/* The numbers of changes hold for one master's budgets alone. */
static void adopt(const struct budget *budget, struct journal_slot *slot)
{
    if (slot->counted == budget_run(budget))
        return;
    slot->held_op = slot->counted_op = 0;
    slot->counted = budget_run(budget);
}

static void hold(struct budget *budget, struct journal_slot *slot)
{
    slot->held_op = budget_next(budget, BUDGET_CLERK);
    budget_add(budget, slot, slot->held_op, 0, slot->reserved);
}

/* Before the sums are loaded from the ledger they cannot be added to: they will have it. */
static void count(struct budget *budget, struct journal_slot *slot)
{
    int64_t spent = budget_is_loaded(budget) ? slot->cost : 0;

    slot->counted_op = budget_next(budget, BUDGET_CLERK);
    budget_add(budget, slot, slot->counted_op, spent, slot->held_op ? -slot->reserved : 0);
}

static bool is_in_doubt(struct budget *budget, uint64_t op)
{
    return op && !budget_applied(budget, BUDGET_CLERK, op);
}

void estate_mend(struct budget *budget, struct journal *journal)
{
    for (int at = 0; at < JOURNAL_SLOTS; at++) {
        struct journal_slot *slot = journal_slot(journal, at);
        if (journal_state(journal, at) == SLOT_FREE || slot->counted != budget_run(budget))
            continue;
        if (is_in_doubt(budget, slot->held_op))
            hold(budget, slot);
        if (is_in_doubt(budget, slot->counted_op))
            count(budget, slot);
    }
}

void estate_hold(struct budget *budget, struct journal *journal)
{
    for (int at = 0; at < JOURNAL_SLOTS; at++) {
        struct journal_slot *slot = journal_slot(journal, at);
        if (journal_state(journal, at) != SLOT_OPEN || !slot->is_attempt)
            continue;
        adopt(budget, slot);
        if (!slot->held_op)
            hold(budget, slot);
    }
}

void estate_owe(struct budget *budget, struct journal *journal, int at)
{
    struct journal_slot *slot = journal_slot(journal, at);

    if (!slot->is_attempt)
        return;
    adopt(budget, slot);
    if (slot->held_op || slot->counted_op)
        return;
    slot->reserved = slot->cost; /* what it reserved once is told nowhere */
    hold(budget, slot);
}

void estate_count(struct budget *budget, struct journal *journal, int at)
{
    struct journal_slot *slot = journal_slot(journal, at);

    if (!slot->is_attempt)
        return;
    adopt(budget, slot);
    if (!slot->counted_op)
        count(budget, slot);
}
