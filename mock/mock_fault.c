/* mock_fault.c -- the table of faults. */
/* SPDX-License-Identifier: MIT */
#include "mock_fault.h"
#include <stdlib.h>

enum arg { ARG_NONE, ARG_PLACE, ARG_SIZE, ARG_STATUS };

struct kind {
    const char *name;
    const char *help;
    enum arg arg;
    struct mock_fault fault; /* what is said here is joined; the argument overrides */
};

#define AT(place, does)                                                                            \
    {                                                                                              \
        .at = (place), .act = (does)                                                               \
    }
#define QUIRK(quirk, bytes)                                                                        \
    {                                                                                              \
        .quirks = (quirk), .size = (bytes)                                                         \
    }
#define ANSWER(code, body)                                                                         \
    {                                                                                              \
        .status = (code), .shape = (body)                                                          \
    }

static const struct kind kinds[] = {
    {"none", "forgets those before it", ARG_NONE, AT(0, MOCK_GO_ON)},
    {"reset_before_head", "RST, nothing sent", ARG_NONE, AT(MOCK_AT_START, MOCK_RESET)},
    {"close_before_head", "FIN, nothing sent", ARG_NONE, AT(MOCK_AT_START, MOCK_CLOSE)},
    {"stall_head", "silence", ARG_NONE, AT(MOCK_AT_START, MOCK_STALL)},
    {"cut_in_head", "FIN inside the head", ARG_NONE, AT(MOCK_AT_HEAD, MOCK_CLOSE)},
    {"reset_in_head", "RST inside the head", ARG_NONE, AT(MOCK_AT_HEAD, MOCK_RESET)},
    {"reset_after_head", "RST before the body", ARG_NONE, AT(MOCK_AT_BODY, MOCK_RESET)},
    {"close_after_head", "FIN before the body", ARG_NONE, AT(MOCK_AT_BODY, MOCK_CLOSE)},
    {"stall_after_head", "silence before the body", ARG_NONE, AT(MOCK_AT_BODY, MOCK_STALL)},
    {"cut_body", "FIN there", ARG_PLACE, AT(1, MOCK_CLOSE)},
    {"reset_body", "RST there", ARG_PLACE, AT(1, MOCK_RESET)},
    {"stall_body", "silence there", ARG_PLACE, AT(1, MOCK_STALL)},
    {"error_body", "an error event there, then the end", ARG_PLACE, AT(1, MOCK_ERROR)},
    {"error_first", "an error event first", ARG_NONE, AT(MOCK_AT_BODY, MOCK_ERROR)},
    {"no_finish", "an orderly end there", ARG_PLACE, AT(1, MOCK_STOP)},
    {"role_only", "the role, then an orderly end", ARG_NONE, AT(0, MOCK_STOP)},
    {"empty_stream", "a head, then an orderly end", ARG_NONE, AT(MOCK_AT_BODY, MOCK_STOP)},
    {"linger", "[DONE], and the answer never ends", ARG_NONE, AT(MOCK_AT_DONE, MOCK_STALL)},
    {"status", "an error of that status", ARG_STATUS, ANSWER(503, NULL)},
    {"status_101", "101 to a POST", ARG_NONE, ANSWER(101, "empty")},
    {"status_204", "204 to a POST", ARG_NONE, ANSWER(204, "empty")},
    {"status_205", "205 to a POST", ARG_NONE, ANSWER(205, "empty")},
    {"redirect", "307 to another path here", ARG_NONE, ANSWER(307, "empty")},
    {"error_200", "an error in JSON with status 200", ARG_NONE, ANSWER(200, NULL)},
    {"empty_200", "no body with status 200", ARG_NONE, ANSWER(200, "empty")},
    {"html_200", "a web page with status 200", ARG_NONE, ANSWER(200, "html")},
    {"bad_chunk_size", "a chunk size that is no number", ARG_NONE, QUIRK(MOCK_BAD_CHUNK_SIZE, 0)},
    {"bad_utf8", "bytes that are no UTF-8", ARG_NONE, QUIRK(MOCK_BAD_UTF8, 0)},
    {"burst", "so many chunks in one write", ARG_SIZE, QUIRK(MOCK_BURST, 8)},
    {"comments", "SSE comments between the events", ARG_NONE, QUIRK(MOCK_COMMENTS, 0)},
    {"drip", "a byte an interval", ARG_NONE, QUIRK(MOCK_DRIP, 0)},
    {"extra_bytes", "more than Content-Length says", ARG_NONE, QUIRK(MOCK_EXTRA_BYTES, 0)},
    {"flood_1xx", "so many interim heads", ARG_SIZE, QUIRK(MOCK_FLOOD_1XX, 500)},
    {"giant_line", "an event of so many bytes", ARG_SIZE, QUIRK(MOCK_GIANT_LINE, 2 << 20)},
    {"gzip", "a compressed body, unasked", ARG_NONE, QUIRK(MOCK_GZIP, 0)},
    {"huge_header", "a header of so many bytes", ARG_SIZE, QUIRK(MOCK_HUGE_HEADER, 128 << 10)},
    {"junk_status", "a first line that is not HTTP", ARG_NONE, QUIRK(MOCK_JUNK_STATUS, 0)},
    {"lone_surrogate", "\"\\ud800\" in the text", ARG_NONE, QUIRK(MOCK_LONE_SURROGATE, 0)},
    {"trailers", "headers after the body", ARG_NONE, QUIRK(MOCK_TRAILERS, 0)},
    {"truncated_json", "half of the JSON", ARG_NONE, QUIRK(MOCK_TRUNCATED_JSON, 0)},
    {"two_lengths", "two Content-Length", ARG_NONE, QUIRK(MOCK_TWO_LENGTHS, 0)},
    {"usage_every_chunk", "usage in each chunk", ARG_NONE, QUIRK(MOCK_USAGE_EVERY_CHUNK, 0)},
    {"usage_in_finish", "x_groq.usage in the finish", ARG_NONE, QUIRK(MOCK_USAGE_IN_FINISH, 0)},
};

enum { KINDS = sizeof kinds / sizeof *kinds };

static const struct kind *kind_get(struct slice name)
{
    for (size_t i = 0; i < KINDS; i++)
        if (slice_is(name, kinds[i].name))
            return &kinds[i];
    return NULL;
}

static bool read_number(const char *text, int *number)
{
    char *end;
    long value = strtol(text, &end, 10);

    if (end == text || *end || value < 0 || value >= MOCK_AT_FINISH)
        return false;
    *number = (int)value;
    return true;
}

bool mock_fault_place(const char *text, int *at)
{
    static const struct {
        const char *word;
        int at;
    } words[] = {
        {"head", MOCK_AT_BODY}, {"role", 0}, {"finish", MOCK_AT_FINISH}, {"usage", MOCK_AT_USAGE},
        {"done", MOCK_AT_DONE},
    };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(text, words[i].word) == 0) {
            *at = words[i].at;
            return true;
        }
    }
    return read_number(text, at);
}

static const char *argument(struct mock_fault *fault, const struct kind *kind, const char *arg)
{
    switch (kind->arg) {
    case ARG_NONE: return "that fault takes no argument";
    case ARG_PLACE: return mock_fault_place(arg, &fault->at) ? NULL : "not a place";
    case ARG_SIZE: return read_number(arg, &fault->size) ? NULL : "not a number";
    case ARG_STATUS:
        return read_number(arg, &fault->status) && fault->status >= 100 && fault->status <= 999
                   ? NULL
                   : "not a status";
    }
    return NULL;
}

const char *mock_fault_add(struct mock_fault *fault, const char *spec)
{
    const char *colon = strchr(spec, ':');
    size_t len = colon ? (size_t)(colon - spec) : strlen(spec);
    const struct kind *kind = kind_get((struct slice){spec, len});

    if (!kind)
        return "no such fault (a refused connection cannot be played: use a port nobody listens "
               "on)";
    if (kind == &kinds[0])
        *fault = kind->fault;
    if (kind->fault.act) {
        fault->act = kind->fault.act;
        fault->at = kind->fault.at;
    }
    if (kind->fault.status) {
        fault->status = kind->fault.status;
        fault->shape = kind->fault.shape;
    }
    if (kind->fault.size)
        fault->size = kind->fault.size;
    fault->quirks |= kind->fault.quirks;
    return colon ? argument(fault, kind, colon + 1) : NULL;
}

void mock_fault_help(struct buf *out)
{
    static const char *const args[] = {"", ":PLACE", ":N", ":CODE"};

    for (size_t i = 0; i < KINDS; i++) {
        size_t len = strlen(kinds[i].name) + strlen(args[kinds[i].arg]);
        buf_add_format(out, "  %s%s%*s%s\n", kinds[i].name, args[kinds[i].arg],
                       len < 26 ? (int)(26 - len) : 1, "", kinds[i].help);
    }
}
