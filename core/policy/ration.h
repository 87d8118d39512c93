/* ration.h -- limit.h and grant.h, for a provider of the configuration and a request's body.
 *
 * It guesses what the request will need of a limit of tokens: what is known is
 * its length, what it says the answer may have, and what others took. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "accounts/bill.h"
#include "config.h"
#include "limits/grant.h"
#include "parsers/body.h"

/* provider NULL: one that is not configured. */
struct limits_target ration_target(const struct provider *provider, struct slice provider_name,
                                   struct slice model);

/* Tokens of the request and its answer, by this target. */
int64_t ration_tokens(const struct limits *limits, const struct limits_target *target,
                      const struct body *body);

/* Tokens that an attempt may be charged for: rather too many than too few.  edits may be NULL;
 * answer_tokens: of the answer, where the request sets no limit. */
struct bill_need ration_need(const struct body *body, const struct body_edits *edits,
                             enum endpoint endpoint, int64_t answer_tokens);

/* limits_check and grant_take, now. */
bool ration_check(struct limits *limits, const struct provider *provider, struct slice model,
                  const struct body *body, struct limits_wait *wait);
bool ration_take(struct limits *limits, const struct provider *provider, struct slice model,
                 const struct body *body, bool insists, struct grant *grant,
                 struct limits_wait *wait);
