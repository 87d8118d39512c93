/* redact.h -- where a text holds what looks like a credential. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "slice.h"

struct redact_span {
    size_t shown; /* offset where the mask begins: a key's prefix stays readable */
    size_t end;   /* offset after the last masked byte */
};

/* The first credential that begins at or after from and before limit; it may
 * end after limit, so that a cut value shows no half of one. */
bool redact_find(struct slice text, size_t from, size_t limit, struct redact_span *found);
