/* exchange_store.c -- the texts of an exchange whose key stores them; of all others nothing. */
/* SPDX-License-Identifier: MIT */
#include "accounts/transcript.h"
#include "client/answer.h"
#include "exchange_own.h"
#include "leaves/loop.h"

/* What the bill does not know the ledger has no row of. */
static bool is_stored(const struct exchange *x, const struct config *config)
{
    return x->account.store_s && config->store_s && x->request.bill &&
           bill_is_recorded(x->request.bill) && x->world->rings;
}

void exchange_store(struct exchange *x)
{
    const struct config *config = generation_config(x->generation);

    if (!is_stored(x, config))
        return;
    struct transcript_head head = {
        .time_us = loop_wall_us(),
        .keep_s = config->store_s < x->account.store_s ? config->store_s : x->account.store_s,
        .account = x->account.number,
    };
    text_copy(head.request, sizeof head.request, x->id);
    x->transcript = transcript_new(x->world->rings, x->world->worker, &head, config->store_most);
    transcript_ask(x->transcript, buf_slice(&x->bytes));
}

/* Handed over before the client has it: who then asks for the texts finds them. */
void exchange_store_answer(struct exchange *x, struct slice body)
{
    if (!x->transcript)
        return;
    transcript_answer(x->transcript, body);
    transcript_end(x->transcript);
    x->transcript = NULL;
}

void exchange_store_error(struct exchange *x, const struct answer_error *error)
{
    struct buf json = {0};

    if (!x->transcript)
        return;
    answer_error_json(error, &json);
    exchange_store_answer(x, buf_slice(&json));
    buf_free(&json);
}
