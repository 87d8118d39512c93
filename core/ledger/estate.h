/* estate.h -- what journals leave to settle: those of workers that died, and of an earlier
 * master's.
 *
 * The clerk works on these, and may be killed at any instant: the next one finds in each slot what
 * was done, and does the rest, nothing twice.  It knows journals and budgets, and no ledger. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <stdbool.h>

struct budget;
struct journal;

/* Of this master's worker, whose seat and budgets these are; else it is a foreign one's. */
bool estate_is_ours(const struct budget *budget, const struct journal *journal);

/* Closes each slot of a worker that is dead, as it would have: what left for a provider is charged
 * what it reserved, unless the worker got to know better. */
void estate_settle(struct budget *budget, struct journal *journal);

/* ---- of a foreign one, whose worker changes no budgets here ---- */

/* Does what a clerk that was killed had begun.  Of all journals, before anything below of any. */
void estate_mend(struct budget *budget, struct journal *journal);
/* What its worker, which lives on, has reserved is not to be spent twice. */
void estate_hold(struct budget *budget, struct journal *journal);
/* Of a closed slot that cannot be written now: its cost is held, until estate_count. */
void estate_owe(struct budget *budget, struct journal *journal, int at);
/* A closed slot is in the ledger: before it is freed. */
void estate_count(struct budget *budget, struct journal *journal, int at);
