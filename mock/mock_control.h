/* mock_control.h -- the mock's own endpoints, for specs: what was seen, and go on. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "mock_conn.h"
#include "mock_http.h"

enum mock_verdict {
    MOCK_NOT_MINE, /* a request for the provider */
    MOCK_REPLY,    /* body holds the answer */
    MOCK_LATER,    /* GET /mock/wait: ask again when a counter has changed */
};

enum mock_verdict mock_control(struct mock *mock, const struct mock_request *request, int *status,
                               struct buf *body);
