/* mock_control.c -- /mock/stats, /mock/wait, /mock/requests, /mock/go, /mock/clear. */
/* SPDX-License-Identifier: MIT */
#include "mock_control.h"
#include "mock_limit.h"
#include <stdlib.h>

/* NAME=N waits until the counter is at least N, NAME<N until it is below.  An
 * unknown name holds at once, so that a misspelt spec fails instead of hanging. */
static bool holds(const struct mock_stats *stats, struct slice condition)
{
    size_t len = 0;

    while (len < condition.len && condition.ptr[len] != '=' && condition.ptr[len] != '<')
        len++;
    const uint64_t *counter = mock_stats_get(stats, (struct slice){condition.ptr, len});
    if (len == condition.len || !counter)
        return true;
    uint64_t number = strtoull(condition.ptr + len + 1, NULL, 10);
    return condition.ptr[len] == '<' ? *counter < number : *counter >= number;
}

static bool all_hold(const struct mock_stats *stats, struct slice query)
{
    while (query.len) {
        const char *end = memchr(query.ptr, '&', query.len);
        size_t len = end ? (size_t)(end - query.ptr) : query.len;
        if (!holds(stats, (struct slice){query.ptr, len}))
            return false;
        size_t past = end ? len + 1 : len;
        query = (struct slice){query.ptr + past, query.len - past};
    }
    return true;
}

enum mock_verdict mock_control(struct mock *mock, const struct mock_request *request, int *status,
                               struct buf *body)
{
    struct slice path = request->path;
    bool waits = slice_is(path, "/mock/wait");

    if (path.len < 6 || memcmp(path.ptr, "/mock/", 6) != 0)
        return MOCK_NOT_MINE;
    if (waits && !all_hold(&mock->stats, request->query))
        return MOCK_LATER;
    *status = 200;
    if (waits || slice_is(path, "/mock/stats")) {
        mock_stats_reply(&mock->stats, mock->loop.now_us, body);
    } else if (slice_is(path, "/mock/requests")) {
        mock_stats_reply_requests(&mock->stats, body);
    } else if (slice_is(path, "/mock/go")) {
        mock_conn_resume_all(mock);
        buf_add_text(body, "{}");
    } else if (slice_is(path, "/mock/clear")) {
        mock_stats_clear(&mock->stats);
        mock_limit_clear();
        buf_add_text(body, "{}");
    } else {
        *status = 404;
        buf_add_text(body, "{\"error\":{\"message\":\"no such control\"}}");
    }
    return MOCK_REPLY;
}
