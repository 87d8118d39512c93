/* mock_options.c -- the table of options, read from argv and from model names. */
/* SPDX-License-Identifier: MIT */
#include "mock_options.h"
#include "leaves/mem.h"
#include <stdlib.h>

enum kind { FLAG, NUMBER, TEXT, RATE, SECONDS, FAULT, STATUS, PLACE, HEADER };

struct option {
    const char *name;
    const char *arg;
    enum kind kind;
    bool whole; /* of the whole mock: not in a model's name */
    size_t offset;
    const char *help;
};

#define MEMBER(member) offsetof(struct mock_options, member)

static const struct option table[] = {
    {"listen", "HOST:PORT", TEXT, true, MEMBER(listen), "where; port 0 is any"},
    {"name", "NAME", TEXT, false, MEMBER(name), "in system_fingerprint and in the text"},
    {"record", "FILE", TEXT, true, MEMBER(record), "append each request as a line of JSON"},
    {"keep", NULL, FLAG, true, MEMBER(keep), "remember the last 100 for GET /mock/requests"},
    {"seed", "N", NUMBER, true, MEMBER(seed), "of --fault-rate"},
    {"text", "TEXT", TEXT, false, MEMBER(text), "what is said, a word a chunk"},
    {"reasoning", "TEXT", TEXT, false, MEMBER(reasoning), "what is thought before"},
    {"tool", "NAME", TEXT, false, MEMBER(tool), "call this function, with the text as arguments"},
    {"finish", "REASON", TEXT, false, MEMBER(finish), "finish_reason"},
    {"raw", "TEXT", TEXT, false, MEMBER(raw), "the whole body, as it is"},
    {"type", "TYPE", TEXT, false, MEMBER(type), "Content-Type of --raw"},
    {"chunks", "N", NUMBER, false, MEMBER(chunks), "so many, round and round the text"},
    {"chunk-bytes", "N", NUMBER, false, MEMBER(chunk_bytes), "text of each chunk"},
    {"answer-bytes", "N", NUMBER, false, MEMBER(answer_bytes), "text of a plain answer"},
    {"crlf", NULL, FLAG, false, MEMBER(crlf), "events end with CRLF"},
    {"no-done", NULL, FLAG, false, MEMBER(no_done), "streams end without [DONE]"},
    {"framing", "HOW", TEXT, false, MEMBER(framing), "chunked, length or close"},
    {"header", "NAME:VALUE", HEADER, false, MEMBER(headers), "one more in the answer; up to 8"},
    {"latency", "MS", NUMBER, false, MEMBER(latency_ms), "before the head"},
    {"interval", "MS", NUMBER, false, MEMBER(interval_ms), "before each chunk"},
    {"ping", "S", SECONDS, false, MEMBER(ping_ms), "a comment so often while stalled"},
    {"split", "N", NUMBER, false, MEMBER(split), "write N bytes at a time"},
    {"fault", "KIND[:ARG]", FAULT, false, MEMBER(fault), "what goes wrong, see below; may repeat"},
    {"status", "CODE", STATUS, false, MEMBER(fault), "short for --fault status:CODE"},
    {"after", "PLACE", PLACE, false, MEMBER(after), "where it goes wrong"},
    {"shape", "SHAPE", TEXT, false, MEMBER(shape), "of errors, see below"},
    {"code", "WORD", TEXT, false, MEMBER(code), "error.code"},
    {"message", "TEXT", TEXT, false, MEMBER(message), "error.message"},
    {"retry-after", "S", TEXT, false, MEMBER(retry_after), "Retry-After of errors, as written"},
    {"fault-rate", "0..1", RATE, false, MEMBER(fault_rate), "share of requests that go wrong"},
    {"fault-every", "N", NUMBER, false, MEMBER(fault_every), "each Nth request to a model"},
    {"fault-first", "N", NUMBER, false, MEMBER(fault_first), "the first N requests to a model"},
    {"ratelimit", "PROVIDER", TEXT, false, MEMBER(ratelimit), "whose headers, see below"},
    {"spent", "WHAT", TEXT, false, MEMBER(spent), "requests or tokens: what a 429 says is spent"},
    {"rpm", "N", NUMBER, false, MEMBER(rpm), "429 after N requests to a model in a window"},
    {"window", "MS", NUMBER, false, MEMBER(window_ms), "of --rpm, 60000"},
    {"help", NULL, FLAG, true, MEMBER(help), "this"},
};

enum { OPTIONS = sizeof table / sizeof *table };

void mock_options_init(struct mock_options *options)
{
    *options = (struct mock_options){.listen = "127.0.0.1:4900",
                                     .name = "mock",
                                     .after = MOCK_AT_START,
                                     .fault_rate = 1,
                                     .window_ms = 60000};
}

void mock_options_fini(struct mock_options *options)
{
    mem_free(options->hello);
    mem_free(options->memory);
}

/* The text where none was given says who speaks. */
static void set_hello(struct mock_options *options)
{
    struct buf hello = {0};

    if (options->text)
        return;
    buf_add_format(&hello, "Hello from %s, a provider that only mocks.", options->name);
    options->text = options->hello = mem_dup(buf_slice(&hello));
    buf_free(&hello);
}

static const struct option *option_get(struct slice name)
{
    for (size_t i = 0; i < OPTIONS; i++)
        if (slice_is(name, table[i].name))
            return &table[i];
    return NULL;
}

static bool read_real(const char *text, double most, double *value)
{
    char *end;

    *value = strtod(text, &end);
    return end != text && !*end && *value >= 0 && *value <= most;
}

static const char *add_header(const char **headers, const char *value)
{
    if (!strchr(value, ':') || strpbrk(value, "\r\n"))
        return "not NAME:VALUE";
    for (int i = 0; i < MOCK_MAX_HEADERS; i++) {
        if (!headers[i]) {
            headers[i] = value;
            return NULL;
        }
    }
    return "too many headers";
}

static const char *add_status(struct mock_fault *fault, const char *value)
{
    if (strlen(value) != 3)
        return "not a status";
    char spec[] = "status:000";
    memcpy(spec + 7, value, 3);
    return mock_fault_add(fault, spec);
}

/* NULL, or what is wrong with value. */
static const char *assign(struct mock_options *options, const struct option *option, char *value)
{
    void *member = (char *)options + option->offset;
    double real = 0;

    switch (option->kind) {
    case FLAG: *(bool *)member = strcmp(value, "0") != 0; return NULL;
    case TEXT: *(const char **)member = value; return NULL;
    case FAULT: return mock_fault_add(member, value);
    case STATUS: return add_status(member, value);
    case PLACE: return mock_fault_place(value, member) ? NULL : "not a place";
    case HEADER: return add_header(member, value);
    case RATE:
        if (!read_real(value, 1, member))
            return "not between 0 and 1";
        return NULL;
    case SECONDS:
        if (!read_real(value, 86400, &real))
            return "not a number of seconds";
        *(int *)member = (int)(real * 1000);
        return NULL;
    case NUMBER:
        if (!read_real(value, 1 << 30, &real))
            return "not a number";
        *(int *)member = (int)real;
        return NULL;
    }
    return NULL;
}

static bool fail(struct buf *err, const char *name, const char *why)
{
    buf_add_format(err, "%s: %s", name, why);
    return false;
}

bool mock_options_read(struct mock_options *options, int argc, char **argv, struct buf *err)
{
    static char yes[] = "1";

    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strncmp(name, "--", 2) != 0)
            return fail(err, name, "not an option");
        const struct option *option = option_get(slice_of(name + 2));
        if (!option)
            return fail(err, name, "no such option");
        if (option->kind != FLAG && i + 1 == argc)
            return fail(err, name, "needs a value");
        const char *why = assign(options, option, option->kind == FLAG ? yes : argv[++i]);
        if (why)
            return fail(err, name, why);
    }
    set_hello(options);
    return true;
}

bool mock_options_in(struct slice model)
{
    return model.len >= 5 && memcmp(model.ptr, "mock:", 5) == 0;
}

/* Percent escapes, in place. */
static void decode(char *text)
{
    char *to = text;

    for (; *text; text++) {
        int high = *text == '%' ? hex_digit(text[1]) : -1;
        int low = high >= 0 ? hex_digit(text[2]) : -1;
        *to++ = low >= 0 ? (char)(high << 4 | low) : *text;
        text += low >= 0 ? 2 : 0;
    }
    *to = '\0';
}

static bool read_pair(struct mock_options *options, char *pair, struct buf *err)
{
    static char yes[] = "1";
    char *value = strchr(pair, '=');
    size_t len = value ? (size_t)(value - pair) : strlen(pair);
    const struct option *option = option_get((struct slice){pair, len});

    if (!option || option->whole)
        return fail(err, pair, "no such option of a request");
    if (!value && option->kind != FLAG)
        return fail(err, pair, "needs a value");
    if (value)
        decode(++value);
    const char *why = assign(options, option, value ? value : yes);
    return why ? fail(err, pair, why) : true;
}

struct mock_options *mock_options_dup(const struct mock_options *defaults, struct slice model,
                                      struct buf *err)
{
    struct mock_options *own = mem_new(sizeof *own);
    char *rest;

    *own = *defaults;
    own->hello = NULL;
    own->text = defaults->hello ? NULL : defaults->text;
    own->memory = mem_dup((struct slice){model.ptr + 5, model.len - 5});
    for (char *pair = strtok_r(own->memory, ",", &rest); pair; pair = strtok_r(NULL, ",", &rest)) {
        if (!read_pair(own, pair, err)) {
            mock_options_free(own);
            return NULL;
        }
    }
    set_hello(own);
    return own;
}

void mock_options_free(struct mock_options *options)
{
    if (!options)
        return;
    mock_options_fini(options);
    mem_free(options);
}

void mock_options_help(struct buf *out)
{
    for (size_t i = 0; i < OPTIONS; i++) {
        const char *arg = table[i].arg ? table[i].arg : "";
        size_t len = strlen(table[i].name) + strlen(arg);
        buf_add_format(out, "  --%s %s%*s%s\n", table[i].name, arg, len < 23 ? (int)(23 - len) : 1,
                       "", table[i].help);
    }
}
