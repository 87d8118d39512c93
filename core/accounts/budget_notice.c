/* budget_notice.c -- places for what is to be told, filled with the change that it is about.
 *
 *   FREE -> NEW -> DUE -> TAKEN -> FREE
 *     [change] [said] [by a worker, who sends it; DUE again when it died]
 *
 * The note of the change has the notice and its place: whoever makes the change in the place of
 * one that was killed fills it as well. */
/* SPDX-License-Identifier: MIT */
#include "budget_own.h"

void budget_tell(struct budget_change *change, int i, enum budget_event event)
{
    struct budget_purse *money = &change->money[i];

    if (money->told & event)
        return;
    money->told |= event;
    change->notices[change->notice_count++] = (struct budget_notice){
        .event = event,
        .number = change->account[i].number,
        .budget = change->account[i].budget,
        .spent = money->spent,
        .reserved = money->reserved,
        .renews_s = money->renews_s,
    };
}

/* A free place from at on; BUDGET_NOTICES: there is none. */
static int free_place(const struct budget *budget, int at)
{
    while (at < BUDGET_NOTICES && budget->places[at].state != PLACE_FREE)
        at++;
    return at;
}

void budget_place(struct budget *budget, const struct budget_change *change)
{
    struct budget_note *note = &budget->note;
    int at = 0;

    note->notice_count = 0;
    for (int i = 0; i < change->notice_count; i++, at++) {
        at = free_place(budget, at);
        if (at == BUDGET_NOTICES) {
            atomic_fetch_add(&budget->lost, (uint64_t)(change->notice_count - i));
            return;
        }
        note->notices[note->notice_count].at = at;
        note->notices[note->notice_count++].notice = change->notices[i];
    }
}

void budget_post(struct budget *budget)
{
    const struct budget_note *note = &budget->note;

    for (int i = 0; i < note->notice_count; i++) {
        struct budget_place *place = &budget->places[note->notices[i].at];
        place->notice = note->notices[i].notice;
        place->state = PLACE_NEW;
    }
    if (note->notice_count)
        atomic_store(&budget->has_notices, 1);
}

/* The first place in that state, which becomes another; -1: there is none. */
static int find(struct budget *budget, enum budget_place_state from, enum budget_place_state to,
                struct budget_notice *notice)
{
    for (int at = 0; at < BUDGET_NOTICES; at++) {
        struct budget_place *place = &budget->places[at];
        if (place->state != from)
            continue;
        *notice = place->notice;
        place->state = to;
        return at;
    }
    return -1;
}

static bool has(const struct budget *budget, enum budget_place_state state)
{
    for (int at = 0; at < BUDGET_NOTICES; at++)
        if (budget->places[at].state == state)
            return true;
    return false;
}

bool budget_hear_notice(struct budget *budget, bool is_to_send, struct budget_notice *notice)
{
    if (!atomic_load_explicit(&budget->has_notices, memory_order_relaxed))
        return false;
    budget_lock(budget);
    int at = find(budget, PLACE_NEW, is_to_send ? PLACE_DUE : PLACE_FREE, notice);
    if (at < 0 && !has(budget, PLACE_DUE))
        atomic_store(&budget->has_notices, 0);
    budget_unlock(budget);
    return at >= 0;
}

int budget_take_notice(struct budget *budget, int worker, struct budget_notice *notice)
{
    if (!atomic_load_explicit(&budget->has_notices, memory_order_relaxed))
        return -1;
    budget_lock(budget);
    int at = find(budget, PLACE_DUE, PLACE_TAKEN, notice);
    if (at >= 0)
        budget->places[at].worker = worker;
    budget_unlock(budget);
    return at;
}

void budget_drop_notice(struct budget *budget, int at)
{
    budget_lock(budget);
    budget->places[at].state = PLACE_FREE;
    budget_unlock(budget);
}

void budget_return_notices(struct budget *budget, int worker)
{
    budget_lock(budget);
    for (int at = 0; at < BUDGET_NOTICES; at++) {
        struct budget_place *place = &budget->places[at];
        if (place->state != PLACE_TAKEN || place->worker != worker)
            continue;
        place->state = PLACE_DUE;
        atomic_store(&budget->has_notices, 1);
    }
    budget_unlock(budget);
}

uint64_t budget_lost_notices(struct budget *budget)
{
    return atomic_load_explicit(&budget->lost, memory_order_relaxed)
               ? atomic_exchange(&budget->lost, 0)
               : 0;
}
