/* sim_upstream.h -- providers that are not there: a transfer plays a list of steps.
 *
 * It is what attempt.c sees as struct upstream where sim_names.h stands in front.  Who is asked
 * decides the steps when the request would have left, from a clean context. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "sim_names.h"

#include "provider/upstream.h"

struct provider;

enum sim_step_kind { SIM_OPEN, SIM_HEAD, SIM_BYTES, SIM_END };

struct sim_step {
    enum sim_step_kind kind;
    int64_t after_us;  /* the step before */
    int status;        /* SIM_HEAD */
    struct buf bytes;  /* taken.  SIM_HEAD: lines "name: value\n", names lower-case */
    enum err err;      /* SIM_END, with upstream's word for it */
    bool is_connected; /* SIM_END: an error of a connection that was there */
};

/* Adds the steps of what the transfer asks for. */
typedef void sim_on_ask(void *arg, struct transfer *transfer);

struct upstream *sim_upstream_new(sim_on_ask *on_ask, void *arg);
void sim_upstream_free(struct upstream *upstream);

struct origin *sim_origin_new(const struct provider *provider); /* borrows provider */

void sim_transfer_add(struct transfer *transfer, const struct sim_step *step);

/* What was asked; borrowed for the transfer's life. */
const struct provider *sim_transfer_provider(const struct transfer *transfer); /* NULL: a fetch */
const char *sim_transfer_base(const struct transfer *transfer);                /* of a fetch */
const char *sim_transfer_method(const struct transfer *transfer);
const char *sim_transfer_path(const struct transfer *transfer);
struct slice sim_transfer_body(const struct transfer *transfer);
struct slice sim_transfer_headers(const struct transfer *transfer); /* lines "name: value\n" */
void *sim_transfer_owner(const struct transfer *transfer);          /* upstream_start's arg */
