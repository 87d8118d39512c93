/* http1.c -- whatever a server sends, cut anywhere: read whole and in pieces, it is the same. */
/* SPDX-License-Identifier: MIT */
#include "parsers/http1.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct reading {
    struct http1 http1;
    struct buf body;
    enum err err;
};

static void feed(struct reading *reading, const uint8_t *data, size_t size)
{
    const char *detail;

    if (!reading->err)
        reading->err = http1_feed(&reading->http1, (struct slice){(const char *)data, size},
                                  &reading->body, &detail);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reading whole = {0}, cut = {0};
    const char *detail;
    size_t step = size ? data[0] % 7 + 1 : 1;

    feed(&whole, data, size);
    for (size_t at = 0; at < size; at += step)
        feed(&cut, data + at, size - at < step ? size - at : step);
    if (!whole.err)
        whole.err = http1_finish(&whole.http1, &detail);
    if (!cut.err)
        cut.err = http1_finish(&cut.http1, &detail);
    if (whole.err != cut.err || whole.http1.status != cut.http1.status ||
        (!whole.err && whole.http1.keeps != cut.http1.keeps) ||
        !slice_equal(buf_slice(&whole.body), buf_slice(&cut.body)) ||
        !slice_equal(buf_slice(&whole.http1.head), buf_slice(&cut.http1.head)))
        abort();

    struct slice name, value;
    size_t at = 0;
    while (http1_next_header(&whole.http1, &at, &name, &value))
        if (name.len == 0)
            abort();
    http1_free(&whole.http1), http1_free(&cut.http1);
    buf_free(&whole.body), buf_free(&cut.body);
    return 0;
}
