/* trial.h -- a version that serves part of the traffic, and how it fares there (canary.h).
 *
 * It says what is to follow; reload.c does it. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "metrics/canary.h"

struct trial;
struct version;

struct trial *trial_new(struct canary *canary); /* borrowed for good */

/* Begins with a version beside the one of that number, and a listening socket that comes with it,
 * or -1; both are taken.  None is on. */
void trial_begin(struct trial *trial, unsigned old, struct version *version, int listen_fd);

bool trial_is_on(const struct trial *trial);
const struct version *trial_version(const struct trial *trial); /* NULL: none is on */

enum canary_verdict trial_look(const struct trial *trial, int64_t now_us);

/* "2 of 40 requests failed, of generation 1 3 of 800": appended. */
void trial_describe(const struct trial *trial, struct buf *out, bool as_json);

/* It is over.  Gives the version, and the listening socket; the caller owns both. */
struct version *trial_end(struct trial *trial, int *listen_fd);

void trial_free(struct trial *trial);
