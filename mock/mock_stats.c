/* mock_stats.c -- counters, a ring of requests, a file of JSON lines. */
/* SPDX-License-Identifier: MIT */
#include "mock_stats.h"
#include "leaves/mem.h"
#include "parsers/json.h"
#include <fcntl.h>
#include <unistd.h>

enum { KEPT = 100 };

struct mock_kept { /* one request */
    uint64_t number, at_us, ended_us;
    const char *outcome; /* NULL while it is open */
    char *json;          /* its members, without braces */
};

static const struct {
    const char *name;
    size_t offset;
} counters[] = {
    {"requests", offsetof(struct mock_stats, requests)},
    {"answers", offsetof(struct mock_stats, answers)},
    {"connections", offsetof(struct mock_stats, connections)},
    {"open_connections", offsetof(struct mock_stats, open_connections)},
    {"open_streams", offsetof(struct mock_stats, open_streams)},
    {"closed_by_peer", offsetof(struct mock_stats, closed_by_peer)},
    {"last_close_us", offsetof(struct mock_stats, last_close_us)},
};

enum { COUNTERS = sizeof counters / sizeof *counters };

bool mock_stats_init(struct mock_stats *stats, const char *record, bool keep)
{
    *stats = (struct mock_stats){.record = -1};
    if (keep)
        stats->kept = mem_new(KEPT * sizeof *stats->kept);
    if (record)
        stats->record = open(record, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    return !record || stats->record >= 0;
}

void mock_stats_fini(struct mock_stats *stats)
{
    for (int i = 0; stats->kept && i < KEPT; i++)
        mem_free(stats->kept[i].json);
    mem_free(stats->kept);
    if (stats->record >= 0)
        close(stats->record);
}

/* Numbers go on, so that requests which are open end as nobody's. */
void mock_stats_clear(struct mock_stats *stats)
{
    stats->answers = stats->closed_by_peer = stats->last_close_us = 0;
    stats->requests = 0;
    stats->connections = stats->open_connections;
    for (int i = 0; stats->kept && i < KEPT; i++) {
        mem_free(stats->kept[i].json);
        stats->kept[i] = (struct mock_kept){0};
    }
}

static void add_member(struct buf *out, const char *name, struct slice value)
{
    buf_add_format(out, "\"%s\":", name);
    json_quote(out, value);
    buf_add_char(out, ',');
}

/* Names are in lower case; of a header that comes twice, both are there. */
static void add_headers(struct buf *out, struct slice head)
{
    struct slice name, value;
    char lower[128];
    const char *comma = "";

    buf_add_text(out, "\"headers\":{");
    while (mock_http_next(&head, &name, &value)) {
        if (name.len > sizeof lower)
            continue;
        for (size_t i = 0; i < name.len; i++)
            lower[i] =
                name.ptr[i] >= 'A' && name.ptr[i] <= 'Z' ? (char)(name.ptr[i] | 0x20) : name.ptr[i];
        buf_add_text(out, comma);
        json_quote(out, (struct slice){lower, name.len});
        buf_add_char(out, ':');
        json_quote(out, value);
        comma = ",";
    }
    buf_add_text(out, "},");
}

static void add_request(struct buf *out, const struct mock_request *request)
{
    add_member(out, "method", request->method);
    add_member(out, "path", request->path);
    add_member(out, "query", request->query);
    add_headers(out, request->head);
    add_member(out, "head", request->head);
    buf_add_text(out, "\"body\":");
    json_quote(out, request->body);
}

static void keep(struct mock_stats *stats, const struct buf *json, uint64_t number, uint64_t now_us)
{
    struct mock_kept *kept = &stats->kept[number % KEPT];

    mem_free(kept->json);
    *kept = (struct mock_kept){.number = number, .at_us = now_us, .json = mem_dup(buf_slice(json))};
}

/* A line is one write, so that readers never see half of one. */
static void record(const struct mock_stats *stats, struct buf *json)
{
    struct buf line = {0};

    buf_add_char(&line, '{');
    buf_add(&line, buf_slice(json));
    buf_add_text(&line, "}\n");
    if (write(stats->record, line.ptr, line.len) < 0)
        buf_clear(&line); /* a full disk costs the record, not the answer */
    buf_free(&line);
}

uint64_t mock_stats_add(struct mock_stats *stats, const struct mock_request *request,
                        uint64_t now_us)
{
    static uint64_t numbers; /* never reused, whatever is cleared */
    uint64_t number = ++numbers;
    struct buf json = {0};

    stats->requests++;
    if (!stats->kept && stats->record < 0)
        return number;
    add_request(&json, request);
    if (stats->kept)
        keep(stats, &json, number, now_us);
    if (stats->record >= 0)
        record(stats, &json);
    buf_free(&json);
    return number;
}

void mock_stats_end(struct mock_stats *stats, uint64_t number, const char *outcome, uint64_t now_us)
{
    if (!stats->kept || stats->kept[number % KEPT].number != number)
        return;
    stats->kept[number % KEPT].outcome = outcome;
    stats->kept[number % KEPT].ended_us = now_us;
}

const uint64_t *mock_stats_get(const struct mock_stats *stats, struct slice name)
{
    for (size_t i = 0; i < COUNTERS; i++)
        if (slice_is(name, counters[i].name))
            return (const uint64_t *)((const char *)stats + counters[i].offset);
    return NULL;
}

void mock_stats_reply(const struct mock_stats *stats, uint64_t now_us, struct buf *out)
{
    buf_add_text(out, "{");
    for (size_t i = 0; i < COUNTERS; i++)
        buf_add_format(out, "\"%s\":%llu,", counters[i].name,
                       (unsigned long long)*mock_stats_get(stats, slice_of(counters[i].name)));
    if (stats->last_close_us)
        buf_add_format(out, "\"last_close_ms_since\":%llu,",
                       (unsigned long long)(now_us - stats->last_close_us) / 1000);
    buf_add_format(out, "\"now_us\":%llu}", (unsigned long long)now_us);
}

static void add_kept(const struct mock_kept *kept, struct buf *out)
{
    buf_add_format(out, "{\"number\":%llu,\"at_us\":%llu,", (unsigned long long)kept->number,
                   (unsigned long long)kept->at_us);
    if (kept->outcome)
        buf_add_format(out, "\"outcome\":\"%s\",\"ended_us\":%llu,", kept->outcome,
                       (unsigned long long)kept->ended_us);
    buf_add_text(out, kept->json);
    buf_add_char(out, '}');
}

/* The oldest first: the ring is sorted but for where it turns. */
void mock_stats_reply_requests(const struct mock_stats *stats, struct buf *out)
{
    uint64_t newest = 0;
    const char *comma = "";

    for (int i = 0; stats->kept && i < KEPT; i++)
        if (stats->kept[i].number > newest)
            newest = stats->kept[i].number;
    buf_add_char(out, '[');
    for (uint64_t n = newest > KEPT ? newest - KEPT + 1 : 1; stats->kept && n <= newest; n++) {
        if (stats->kept[n % KEPT].number != n)
            continue;
        buf_add_text(out, comma);
        add_kept(&stats->kept[n % KEPT], out);
        comma = ",";
    }
    buf_add_char(out, ']');
}
