/* bill_record.c -- rows of requests that a limit of their key, or of its team, refused.
 *
 * Nothing was counted for them, so a slot goes from OPENING straight to CLOSED.  A client that
 * tries for ever must not fill journal and ledger: of a key's requests one a second is recorded,
 * and none while journals keep what the ledger cannot take, for that is money's room. */
/* SPDX-License-Identifier: MIT */
#include "bill_own.h"
#include "leaves/loop.h"

/* Keys that share a place share its row. */
static bool is_due(struct bills *bills, const struct keys_account *account, int64_t now_us)
{
    int64_t *last_us = &bills->recorded_us[account->number % BILL_RECORDED];

    if (*last_us && now_us - *last_us < 1000000)
        return false;
    *last_us = now_us;
    return true;
}

void bill_record_refusal(struct bills *bills, const struct keys_account *account,
                         const struct bill_request *request, const struct bill_refusal *refusal)
{
    if (!bills->journal || !refusal->word || budget_get_health(bills->budget).is_failing ||
        !is_due(bills, account, loop_now_us()))
        return;
    int at = journal_take(bills->journal);
    if (at < 0)
        return;
    struct journal_slot *slot = journal_slot(bills->journal, at);
    slot->account = account->number;
    slot->team = account->team;
    slot->started_us = slot->ended_us = loop_wall_us();
    slot->prompt = slot->completion = slot->cached = slot->reasoning = -1;
    slot->first_ms = -1;
    slot->status = refusal->status;
    slot->endpoint = request->endpoint;
    slot->generation = request->generation;
    bill_set_text(slot->request, sizeof slot->request, slice_of(request->id));
    bill_set_text(slot->model, sizeof slot->model, request->model);
    bill_set_text(slot->code, sizeof slot->code, slice_of(refusal->word));
    journal_set(bills->journal, at, SLOT_CLOSED);
}
