/* series.c -- names, labels, their order. */
/* SPDX-License-Identifier: MIT */
#include "series.h"

struct slice series_name(struct slice series)
{
    const char *brace = memchr(series.ptr, '{', series.len);

    return brace ? (struct slice){series.ptr, (size_t)(brace - series.ptr)} : series;
}

static int compare(struct slice a, struct slice b)
{
    int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);

    return order ? order : (a.len > b.len) - (a.len < b.len);
}

int series_compare(struct slice one, struct slice other)
{
    int order = compare(series_name(one), series_name(other));

    return order ? order : compare(one, other);
}
