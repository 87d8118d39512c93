/* mock_shape.c -- the table of error shapes. */
/* SPDX-License-Identifier: MIT */
#include "mock_shape.h"
#include "parsers/json.h"

struct mock_shape {
    const char *name;
    const char *type;
    void (*add)(struct buf *out, const struct mock_error *error);
};

struct usual {
    int status;
    const char *type, *code, *message;
};

static const struct usual usuals[] = {
    {400, "invalid_request_error", "invalid_request", "This request is not understood."},
    {401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided: sk-mock."},
    {402, "invalid_request_error", "insufficient_balance", "Insufficient credits."},
    {403, "invalid_request_error", "permission_denied", "This key may not do that."},
    {404, "invalid_request_error", "model_not_found", "The model does not exist."},
    {413, "invalid_request_error", "request_too_large", "The request is too large."},
    {422, "invalid_request_error", "unprocessable", "A member has the wrong type."},
    {429, "requests", "rate_limit_exceeded", "Rate limit reached."},
    {498, "server_error", "capacity_exceeded", "Flex capacity is spent."},
    {500, "server_error", "internal_error", "The server had an error."},
    {503, "server_error", "server_is_overloaded", "The server is overloaded."},
    {529, "overloaded_error", "overloaded_error", "Overloaded"},
};

static const struct usual other = {0, "server_error", "server_error", "Something went wrong."};

static const struct usual *usual_get(int status)
{
    for (size_t i = 0; i < sizeof usuals / sizeof *usuals; i++)
        if (usuals[i].status == status)
            return &usuals[i];
    return &other;
}

static const char *code_of(const struct mock_error *error)
{
    return error->code ? error->code : usual_get(error->status)->code;
}

static const char *message_of(const struct mock_error *error)
{
    return error->message ? error->message : usual_get(error->status)->message;
}

/* What providers call a number where HTTP has no error, as inside a 200. */
static int status_of(const struct mock_error *error)
{
    return error->status >= 400 ? error->status : 502;
}

static void add_quoted(struct buf *out, const char *before, const char *text, const char *after)
{
    buf_add_text(out, before);
    json_quote(out, slice_of(text));
    buf_add_text(out, after);
}

static void add_openai(struct buf *out, const struct mock_error *error)
{
    add_quoted(out, "{\"error\":{\"message\":", message_of(error), "");
    add_quoted(out, ",\"type\":", usual_get(error->status)->type, ",\"param\":null");
    add_quoted(out, ",\"code\":", code_of(error), "}}");
}

static void add_openrouter_members(struct buf *out, const struct mock_error *error)
{
    buf_add_format(out, "\"error\":{\"code\":%d", status_of(error));
    add_quoted(out, ",\"message\":", message_of(error), "");
    add_quoted(out, ",\"metadata\":{\"provider_name\":\"Mock\",\"error_type\":", code_of(error),
               "");
    add_quoted(out, ",\"raw\":", message_of(error), "}}");
}

static void add_openrouter(struct buf *out, const struct mock_error *error)
{
    buf_add_text(out, "{");
    add_openrouter_members(out, error);
    buf_add_text(out, ",\"user_id\":\"user_mock\"}");
}

static void add_anthropic(struct buf *out, const struct mock_error *error)
{
    const char *type = error->code            ? error->code
                       : error->status == 429 ? "rate_limit_error"
                       : error->status >= 500 ? "overloaded_error"
                                              : usual_get(error->status)->type;

    add_quoted(out, "{\"type\":\"error\",\"error\":{\"type\":", type, "");
    add_quoted(out, ",\"message\":", message_of(error), "},\"request_id\":\"req_mock\"}");
}

static void add_gemini(struct buf *out, const struct mock_error *error)
{
    const char *status = error->code            ? error->code
                         : error->status == 429 ? "RESOURCE_EXHAUSTED"
                         : error->status == 400 ? "INVALID_ARGUMENT"
                                                : "UNAVAILABLE";

    buf_add_format(out, "[{\"error\":{\"code\":%d", status_of(error));
    add_quoted(out, ",\"message\":", message_of(error), "");
    add_quoted(out, ",\"status\":", status, ",\"details\":[");
    if (error->retry_after) {
        buf_add_text(out,
                     "{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":");
        buf_add_format(out, "\"%ss\"}", error->retry_after);
    }
    buf_add_text(out, "]}}]");
}

static void add_rfc7807(struct buf *out, const struct mock_error *error)
{
    buf_add_format(out, "{\"type\":\"about:blank\",\"status\":%d", status_of(error));
    add_quoted(out, ",\"title\":", code_of(error), "");
    add_quoted(out, ",\"detail\":", message_of(error), "}");
}

static void add_fastapi(struct buf *out, const struct mock_error *error)
{
    add_quoted(out, "{\"detail\":[{\"loc\":[\"body\"],\"msg\":", message_of(error), "");
    add_quoted(out, ",\"type\":", code_of(error), "}]}");
}

static void add_string(struct buf *out, const struct mock_error *error)
{
    add_quoted(out, "{\"error\":", message_of(error), "}");
}

static void add_text(struct buf *out, const struct mock_error *error)
{
    buf_add_text(out, message_of(error));
}

static void add_html(struct buf *out, const struct mock_error *error)
{
    buf_add_text(out, "<!DOCTYPE html>\n<html><head><title>");
    buf_add_text(out, message_of(error));
    buf_add_text(out, "</title></head><body><h1>Error</h1></body></html>\n");
}

static void add_empty(struct buf *out, const struct mock_error *error)
{
}

static const struct mock_shape shapes[] = {
    {"openai", "application/json", add_openai},
    {"groq", "application/json", add_openai},
    {"cerebras", "application/json", add_openai},
    {"openrouter", "application/json", add_openrouter},
    {"anthropic", "application/json", add_anthropic},
    {"gemini", "application/json", add_gemini},
    {"rfc7807", "application/problem+json", add_rfc7807},
    {"fastapi", "application/json", add_fastapi},
    {"mistral", "application/json", add_fastapi},
    {"string", "application/json", add_string},
    {"text", "text/plain", add_text},
    {"html", "text/html", add_html},
    {"empty", NULL, add_empty},
};

enum { SHAPES = sizeof shapes / sizeof *shapes };

const struct mock_shape *mock_shape_get(const char *name)
{
    for (size_t i = 0; i < SHAPES; i++)
        if (strcmp(name, shapes[i].name) == 0)
            return &shapes[i];
    return NULL;
}

const char *mock_shape_type(const struct mock_shape *shape)
{
    return shape->type;
}

void mock_shape_add(const struct mock_shape *shape, struct buf *out, struct mock_error error)
{
    shape->add(out, &error);
}

/* OpenRouter's is a chunk like the others that also holds the error. */
static void add_openrouter_event(struct buf *out, const struct mock_error *error)
{
    buf_add_text(out, "{\"id\":\"gen-mock\",\"object\":\"chat.completion.chunk\",\"created\":0,"
                      "\"model\":\"mock\",\"provider\":\"Mock\",");
    add_openrouter_members(out, error);
    buf_add_text(out, ",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"\"},"
                      "\"finish_reason\":\"error\"}]}");
}

void mock_shape_add_event(const struct mock_shape *shape, struct buf *out, struct mock_error error,
                          const char *eol)
{
    if (shape->add == add_anthropic)
        buf_add_format(out, "event: error%s", eol);
    buf_add_text(out, "data: ");
    if (shape->add == add_openrouter)
        add_openrouter_event(out, &error);
    else
        shape->add(out, &error);
    buf_add_format(out, "%s%s", eol, eol);
}

void mock_shape_help(struct buf *out)
{
    for (size_t i = 0; i < SHAPES; i++)
        buf_add_format(out, "%s%s", i ? " " : "  ", shapes[i].name);
    buf_add_text(out, "\n");
}
