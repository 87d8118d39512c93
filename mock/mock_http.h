/* mock_http.h -- reads HTTP/1 requests out of bytes, as a provider would:
 * trusting, but never beyond the bytes. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/slice.h"

enum { MOCK_MAX_HEAD = 1 << 20 };

struct mock_request { /* slices are borrowed from the bytes, or from decoded */
    struct slice method;
    struct slice path; /* without the query */
    struct slice query;
    struct slice head; /* all of it, with the blank line */
    struct slice body;
    bool keep_alive;
    bool http10;
    bool expects; /* 100-continue */
    size_t used;  /* bytes of the whole request */
};

enum mock_read { MOCK_READ_MORE, MOCK_READ_WHOLE, MOCK_READ_BAD };

/* Looks for one whole request at the front of bytes; *room is what the rest of
 * it takes, where that is known.  A chunked body goes to decoded.  After
 * MOCK_READ_MORE only expects and head are good, head empty if it is not whole. */
enum mock_read mock_http_read(struct slice bytes, struct mock_request *request, struct buf *decoded,
                              size_t *room);

/* Steps through the headers of a head: false after the last. */
bool mock_http_next(struct slice *head, struct slice *name, struct slice *value);

bool mock_name_is(struct slice name, const char *lower); /* without regard to case */
