/* visitor.h -- who asks: a header's key against the configuration's, or against the ledger's. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "accounts/keys.h"
#include "client/answer.h"

struct bills;
struct config;

struct visitor_door { /* borrowed */
    const struct config *config;
    struct bills *bills; /* of a ledger */
};

/* Whether the header's key, or the lack of one, will do.  Then key_name (borrowed; NULL: none) and
 * caller (its number 0: no virtual key's) say whose it is.  pass is visitor_screen's for the same
 * request, or 0. */
bool visitor_is_known(const struct visitor_door *door, struct slice authorization, int32_t pass,
                      struct keys_account *caller, const char **key_name);

/* What one hears who is not known. */
struct answer_error visitor_refusal(const struct visitor_door *door, struct slice authorization);

/* The same two before the request has come, as client_screen wants it. */
const char *visitor_screen(const struct visitor_door *door, struct slice authorization,
                           int32_t *pass);
