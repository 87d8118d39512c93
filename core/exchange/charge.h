/* charge.h -- what an attempt tells of its provider's limits, and takes from them; and of its bill.
 *
 * Between attempt.h, grant.h and bill.h, for who owns attempts.  Each is called from
 * the loop, from no Lua. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "attempt.h"

struct generation;
struct policy_fault;
struct policy_outcome;

/* The answer has begun well: its headers, its latency. */
void charge_commit(struct limits *limits, struct generation *generation, struct attempt *attempt);

/* What is judged; borrows both, and the answer's head as long as the attempt is open. */
struct policy_fault charge_fault(struct attempt *attempt, const struct attempt_fault *fault);
/* The host's part in that: the headers of the attempt's answer. */
void charge_each_header(void *arg, void *attempt,
                        void (*visit)(void *visit_arg, struct slice name, struct slice value),
                        void *visit_arg);

/* The attempt failed, before or after its commit point; logs a cooldown that follows.  Gives how
 * long the target is left alone, in seconds; 0: not at all. */
double charge_fail(struct limits *limits, struct generation *generation, struct attempt *attempt,
                   const struct attempt_fault *fault, const struct policy_outcome *outcome);

/* It is over, in whatever way; before attempt_free. */
void charge_end(struct limits *limits, struct attempt *attempt);
