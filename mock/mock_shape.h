/* mock_shape.h -- how providers word their errors.
 *
 * A shape turns one error into a body, and into an event of a stream. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"

struct mock_error { /* borrowed texts */
    int status;
    const char *code;        /* NULL: what usually goes with the status */
    const char *message;     /* NULL: the same */
    const char *retry_after; /* seconds as text, or NULL */
};

struct mock_shape;

/* NULL when there is no shape of that name. */
const struct mock_shape *mock_shape_get(const char *name);

const char *mock_shape_type(const struct mock_shape *shape); /* Content-Type, or NULL */
void mock_shape_add(const struct mock_shape *shape, struct buf *out, struct mock_error error);

/* One event: its lines, each ended by eol, and the blank line. */
void mock_shape_add_event(const struct mock_shape *shape, struct buf *out, struct mock_error error,
                          const char *eol);

void mock_shape_help(struct buf *out);
