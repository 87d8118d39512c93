/* bill_unrecorded.c -- requests of keys without a budget, served while nothing can be written down.
 *
 * Limits hold for them as for others.  But who should take back from a count that all workers share
 * what a worker had under way that died, if no journal tells?  So each worker counts its own. */
/* SPDX-License-Identifier: MIT */
#include "bill_own.h"
#include "leaves/loop.h"
#include "leaves/mem.h"

static int64_t count_of(const struct bills *bills, int32_t number)
{
    return bills->loose ? bills->loose[number] : 0;
}

static void add(struct bills *bills, const struct keys_account *account, int by)
{
    if (!bills->loose)
        bills->loose = mem_new(KEYS_MAX * sizeof *bills->loose);
    bills->loose[account->number] += by;
    if (account->team)
        bills->loose[account->team] += by;
}

bool bill_open_unrecorded(struct bills *bills, const struct keys_account *account, int64_t tokens,
                          struct bill **bill, struct bill_refusal *refusal)
{
    const struct budget_loose loose = {
        .account = account->number,
        .team = account->team,
        .at_once = {count_of(bills, account->number), count_of(bills, account->team)}};
    struct budget_refusal seen = {0};

    if (bill_refuse_unrecorded(bills, account, refusal))
        return false;
    if (!budget_check(bills->budget, &loose, tokens, loop_now_us(), (int64_t)loop_wall_seconds(),
                      &seen)) {
        bill_refuse(bills, &seen, seen.number != account->number, refusal);
        return false;
    }
    add(bills, account, 1);
    *bill = bill_make(bills, account, -1);
    return true;
}

void bill_leave_unrecorded(struct bill *bill)
{
    add(bill->bills, &bill->account, -1);
}
