/* mock_say.c -- OpenAI's JSON, written by hand: the benchmarks ask for a
 * hundred thousand of these a second. */
/* SPDX-License-Identifier: MIT */
#include "mock_say.h"
#include "parsers/json.h"

static const char filler[] = "the quick brown fox jumps over the lazy dog and packs my box with "
                             "five dozen liquor jugs while waiting for the next token to come ";

/* What stands around the text of a chunk. */
static const struct wrapper {
    const char *before, *after;
} content = {"\"choices\":[{\"index\":0,\"delta\":{\"content\":\"",
             "\"},\"logprobs\":null,\"finish_reason\":null}]"},
  thought = {"\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"",
             "\"},\"logprobs\":null,\"finish_reason\":null}]"},
  argument = {"\"choices\":[{\"index\":0,\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":"
              "{\"arguments\":\"",
              "\"}}]},\"logprobs\":null,\"finish_reason\":null}]"},
  legacy = {"\"choices\":[{\"text\":\"", "\",\"index\":0,\"logprobs\":null,"
                                         "\"finish_reason\":null}]"};

static void add_number(struct buf *out, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;

    do
        digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    buf_add(out, (struct slice){digits + at, sizeof digits - at});
}

/* The inside of a JSON string: json_quote without its quotes. */
static void add_escaped(struct buf *out, struct slice text)
{
    size_t from = out->len;

    json_quote(out, text);
    memmove(out->ptr + from, out->ptr + from + 1, out->len - from - 2);
    out->len -= 2;
}

static void add_filler(struct buf *out, size_t bytes)
{
    while (bytes) {
        size_t some = bytes < sizeof filler - 1 ? bytes : sizeof filler - 1;
        buf_add(out, (struct slice){filler, some});
        bytes -= some;
    }
}

/* A word with the spaces before it, as models make them. */
static struct slice take_word(struct slice *rest)
{
    size_t len = 0;

    while (len < rest->len && rest->ptr[len] == ' ')
        len++;
    while (len < rest->len && rest->ptr[len] != ' ')
        len++;
    struct slice word = {rest->ptr, len};
    *rest = (struct slice){rest->ptr + len, rest->len - len};
    return word;
}

static int count_words(const char *text)
{
    struct slice rest = slice_of(text);
    int count = 0;

    for (; rest.len; count++)
        take_word(&rest);
    return count;
}

static const char *object_of(const struct mock_say *say)
{
    if (say->endpoint == MOCK_COMPLETIONS)
        return "text_completion";
    return say->stream ? "chat.completion.chunk" : "chat.completion";
}

static void open_object(struct mock_say *say, struct slice model)
{
    struct buf *out = &say->opening;

    if (say->endpoint == MOCK_EMBEDDINGS) {
        buf_add_text(out, "{\"object\":\"list\",\"model\":");
        json_quote(out, model);
        buf_add_char(out, ',');
        return;
    }
    buf_add_text(out, say->endpoint == MOCK_COMPLETIONS ? "{\"id\":\"cmpl-mock"
                                                        : "{\"id\":\"chatcmpl-mock");
    add_number(out, say->number);
    buf_add_text(out, "\",\"object\":\"");
    buf_add_text(out, object_of(say));
    buf_add_text(out, "\",\"created\":");
    add_number(out, (uint64_t)time(NULL));
    buf_add_text(out, ",\"model\":\"");
    add_escaped(out, model);
    buf_add_text(out, "\",\"system_fingerprint\":\"fp_");
    add_escaped(out, slice_of(say->options->name));
    buf_add_text(out, "\",");
}

void mock_say_init(struct mock_say *say, const struct mock_options *options,
                   const struct mock_fault *fault, enum mock_endpoint endpoint,
                   const struct mock_ask *ask, uint64_t number)
{
    *say = (struct mock_say){.options = options,
                             .endpoint = endpoint,
                             .stream = ask->stream,
                             .usage = ask->include_usage,
                             .quirks = fault->quirks,
                             .size = fault->size,
                             .inputs = ask->inputs,
                             .prompt_tokens = ask->bytes / 4 + 1,
                             .number = number,
                             .rest = slice_of(options->text)};
    say->thoughts =
        options->reasoning && endpoint == MOCK_CHAT ? count_words(options->reasoning) : 0;
    say->chunks = options->chunks ? options->chunks : count_words(options->text);
    say->chunks += say->thoughts;
    open_object(say, ask->model);
}

void mock_say_fini(struct mock_say *say)
{
    buf_free(&say->opening);
}

/* The next word of the text, which begins again behind its last. */
static void add_word(struct mock_say *say, struct buf *out)
{
    if (!say->rest.len) {
        say->rest = slice_of(say->options->text);
        if (say->rest.len && say->rest.ptr[0] != ' ')
            buf_add_char(out, ' ');
    }
    add_escaped(out, take_word(&say->rest));
}

static void add_thought(struct mock_say *say, int chunk, struct buf *out)
{
    struct slice rest = slice_of(say->options->reasoning), word = {0};

    while (chunk-- >= 0)
        word = take_word(&rest);
    add_escaped(out, word);
}

static void add_piece(struct mock_say *say, int chunk, struct buf *out)
{
    if (say->quirks & MOCK_GIANT_LINE && chunk == 0)
        add_filler(out, (size_t)say->size);
    if (say->quirks & MOCK_BAD_UTF8)
        buf_add(out, SLICE("\xff\xfe\xc0\x80"));
    if (say->quirks & MOCK_LONE_SURROGATE)
        buf_add(out, SLICE("\\ud83d"));
    if (chunk < say->thoughts)
        add_thought(say, chunk, out);
    else if (say->options->chunk_bytes)
        add_filler(out, (size_t)say->options->chunk_bytes);
    else
        add_word(say, out);
}

static void add_usage(const struct mock_say *say, struct buf *out)
{
    uint64_t completion = (uint64_t)say->chunks;

    buf_add_text(out, "{\"prompt_tokens\":");
    add_number(out, say->prompt_tokens);
    buf_add_text(out, ",\"completion_tokens\":");
    add_number(out, completion);
    buf_add_text(out, ",\"total_tokens\":");
    add_number(out, say->prompt_tokens + completion);
    buf_add_text(out, ",\"prompt_tokens_details\":{\"cached_tokens\":0},"
                      "\"completion_tokens_details\":{\"reasoning_tokens\":");
    add_number(out, (uint64_t)say->thoughts);
    buf_add_text(out, "}}");
}

static const char *finish_of(const struct mock_say *say)
{
    if (say->options->finish)
        return say->options->finish;
    return say->options->tool ? "tool_calls" : "stop";
}

/* The text of a plain answer: what the stream would have said. */
static void add_all(struct mock_say *say, struct buf *out)
{
    if (say->options->answer_bytes) {
        add_filler(out, (size_t)say->options->answer_bytes);
        return;
    }
    for (int chunk = say->thoughts; chunk < say->chunks; chunk++)
        add_piece(say, chunk, out);
}

static void add_tool_call(struct mock_say *say, struct buf *out, const char *index, bool whole)
{
    buf_add_text(out, "\"tool_calls\":[{");
    buf_add_text(out, index);
    buf_add_text(out, "\"id\":\"call_mock");
    add_number(out, say->number);
    buf_add_text(out, "\",\"type\":\"function\",\"function\":{\"name\":\"");
    add_escaped(out, slice_of(say->options->tool));
    buf_add_text(out, "\",\"arguments\":\"");
    if (whole)
        add_all(say, out);
    buf_add_text(out, "\"}}],");
}

static void add_message(struct mock_say *say, struct buf *out)
{
    buf_add_text(out, "\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":");
    if (say->options->tool) {
        buf_add_text(out, "null,");
        add_tool_call(say, out, "", true);
    } else {
        buf_add_char(out, '"');
        add_all(say, out);
        buf_add_text(out, "\",");
    }
    if (say->thoughts) {
        buf_add_text(out, "\"reasoning_content\":");
        json_quote(out, slice_of(say->options->reasoning));
        buf_add_char(out, ',');
    }
    buf_add_text(out,
                 "\"refusal\":null,\"annotations\":[]},\"logprobs\":null,\"finish_reason\":\"");
    buf_add_text(out, finish_of(say));
    buf_add_text(out, "\"}]");
}

static void add_legacy(struct mock_say *say, struct buf *out)
{
    buf_add_text(out, "\"choices\":[{\"text\":\"");
    add_all(say, out);
    buf_add_text(out, "\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"");
    buf_add_text(out, finish_of(say));
    buf_add_text(out, "\"}]");
}

static void add_embeddings(struct mock_say *say, struct buf *out)
{
    buf_add_text(out, "\"data\":[");
    for (int i = 0; i < say->inputs; i++)
        buf_add_format(out,
                       "%s{\"object\":\"embedding\",\"index\":%d,\"embedding\":[%d,0.25,-0.5,1]}",
                       i ? "," : "", i, i);
    buf_add_format(out, "],\"usage\":{\"prompt_tokens\":%zu,\"total_tokens\":%zu}}",
                   say->prompt_tokens, say->prompt_tokens);
}

void mock_say_plain(struct mock_say *say, struct buf *out)
{
    buf_add(out, buf_slice(&say->opening));
    switch (say->endpoint) {
    case MOCK_EMBEDDINGS: add_embeddings(say, out); return;
    case MOCK_COMPLETIONS: add_legacy(say, out); break;
    case MOCK_CHAT: add_message(say, out); break;
    }
    buf_add_text(out, ",\"usage\":");
    add_usage(say, out);
    buf_add_text(out, ",\"service_tier\":\"default\"}");
}

const char *mock_say_eol(const struct mock_options *options)
{
    return options->crlf ? "\r\n" : "\n";
}

static void open_event(struct mock_say *say, struct buf *out)
{
    buf_add_text(out, "data: ");
    buf_add(out, buf_slice(&say->opening));
}

static void close_event(struct mock_say *say, struct buf *out, bool has_usage)
{
    const char *eol = mock_say_eol(say->options);

    if (say->quirks & MOCK_USAGE_EVERY_CHUNK && !has_usage) {
        buf_add_text(out, ",\"usage\":");
        add_usage(say, out);
    } else if (say->usage && !has_usage) {
        buf_add_text(out, ",\"usage\":null");
    }
    buf_add_char(out, '}');
    buf_add_text(out, eol);
    buf_add_text(out, eol);
}

void mock_say_role(struct mock_say *say, struct buf *out)
{
    if (say->endpoint == MOCK_COMPLETIONS)
        return;
    open_event(say, out);
    buf_add_text(out, "\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":");
    buf_add_text(out, say->options->tool ? "null," : "\"\",");
    if (say->options->tool)
        add_tool_call(say, out, "\"index\":0,", false);
    buf_add_text(out, "\"refusal\":null},\"logprobs\":null,\"finish_reason\":null}]");
    close_event(say, out, false);
}

static const struct wrapper *wrapper_of(const struct mock_say *say, int chunk)
{
    if (say->endpoint == MOCK_COMPLETIONS)
        return &legacy;
    if (chunk < say->thoughts)
        return &thought;
    return say->options->tool ? &argument : &content;
}

void mock_say_chunk(struct mock_say *say, int chunk, struct buf *out)
{
    const struct wrapper *wrapper = wrapper_of(say, chunk);
    const char *eol = mock_say_eol(say->options);
    size_t from = out->len;

    open_event(say, out);
    buf_add_text(out, wrapper->before);
    add_piece(say, chunk, out);
    if (say->quirks & MOCK_TRUNCATED_JSON) {
        out->len = from + (out->len - from) / 2;
        buf_add_text(out, eol);
        buf_add_text(out, eol);
        return;
    }
    buf_add_text(out, wrapper->after);
    close_event(say, out, false);
}

void mock_say_finish(struct mock_say *say, struct buf *out)
{
    open_event(say, out);
    if (say->endpoint == MOCK_COMPLETIONS)
        buf_add_text(out, "\"choices\":[{\"text\":\"\",\"index\":0");
    else
        buf_add_text(out, "\"choices\":[{\"index\":0,\"delta\":{}");
    buf_add_text(out, ",\"logprobs\":null,\"finish_reason\":\"");
    buf_add_text(out, finish_of(say));
    buf_add_text(out, "\"}]");
    if (say->quirks & MOCK_USAGE_IN_FINISH) {
        buf_add_text(out, ",\"x_groq\":{\"id\":\"req_mock\",\"usage\":");
        add_usage(say, out);
        buf_add_char(out, '}');
    }
    close_event(say, out, false);
}

void mock_say_usage(struct mock_say *say, struct buf *out)
{
    open_event(say, out);
    buf_add_text(out, "\"choices\":[],\"usage\":");
    add_usage(say, out);
    close_event(say, out, true);
}

void mock_say_done(struct mock_say *say, struct buf *out)
{
    const char *eol = mock_say_eol(say->options);

    buf_add_format(out, "data: [DONE]%s%s", eol, eol);
}

void mock_say_comment(struct mock_say *say, struct buf *out)
{
    const char *eol = mock_say_eol(say->options);

    buf_add_format(out, ": OPENROUTER PROCESSING%s%s", eol, eol);
}

void mock_say_models(const struct mock_options *options, struct buf *out)
{
    static const char *const names[] = {"mock-small", "mock-large"};

    buf_add_text(out, "{\"object\":\"list\",\"data\":[");
    for (int i = 0; i < 2; i++) {
        buf_add_format(out, "%s{\"id\":\"%s\",\"object\":\"model\",\"created\":0,\"owned_by\":",
                       i ? "," : "", names[i]);
        json_quote(out, slice_of(options->name));
        buf_add_char(out, '}');
    }
    buf_add_text(out, "]}");
}
