/* mock_answer.c -- decides on an answer and walks through it. */
/* SPDX-License-Identifier: MIT */
#include "mock_answer.h"
#include "leaves/mem.h"
#include "mock_shape.h"
#include "parsers/json.h"
#include <stdio.h>
#include <stdlib.h>

enum { USUAL_BODY = 2048 }; /* what most plain answers take */

static void decide(struct mock_answer *answer, const struct mock_ask *ask,
                   enum mock_endpoint endpoint, uint64_t now_us);
static void refuse(struct mock_answer *answer, int status, const char *code, const char *message);

static bool ends_with(struct slice path, const char *end)
{
    size_t len = strlen(end);
    return path.len >= len && memcmp(path.ptr + path.len - len, end, len) == 0;
}

static bool endpoint_of(struct slice path, enum mock_endpoint *endpoint)
{
    if (ends_with(path, "/chat/completions"))
        *endpoint = MOCK_CHAT;
    else if (ends_with(path, "/completions"))
        *endpoint = MOCK_COMPLETIONS;
    else if (ends_with(path, "/embeddings"))
        *endpoint = MOCK_EMBEDDINGS;
    else
        return false;
    return true;
}

static void open_answer(struct mock_answer *answer, const struct mock_options *defaults,
                        const struct mock_request *request)
{
    *answer = (struct mock_answer){.options = defaults,
                                   .at = MOCK_AT_START,
                                   .keep_alive = request->keep_alive,
                                   .status = 200,
                                   .type = "application/json",
                                   .framing = request->http10 ? MOCK_BY_CLOSE : MOCK_BY_LENGTH};
}

void mock_answer_init_json(struct mock_answer *answer, const struct mock_options *defaults,
                           const struct mock_request *request, int status, struct buf *body)
{
    open_answer(answer, defaults, request);
    answer->status = status;
    answer->body = *body;
    *body = (struct buf){0};
}

/* False when the model's name holds options that are wrong; the answer says so. */
static bool read_model(struct mock_answer *answer, const struct mock_ask *ask)
{
    struct buf err = {0};

    if (!mock_options_in(ask->model))
        return true;
    answer->own = mock_options_dup(answer->options, ask->model, &err);
    if (answer->own) {
        answer->options = answer->own;
        return true;
    }
    buf_add_char(&err, '\0');
    refuse(answer, 400, "mock_options", err.ptr);
    buf_free(&err);
    return false;
}

void mock_answer_init(struct mock_answer *answer, const struct mock_options *defaults,
                      const struct mock_request *request, uint64_t now_us)
{
    static struct buf names; /* one thread: kept for its room */
    enum mock_endpoint endpoint;
    struct mock_ask ask;

    open_answer(answer, defaults, request);
    if (slice_is(request->method, "GET") && ends_with(request->path, "/models")) {
        mock_say_models(defaults, &answer->body);
    } else if (!endpoint_of(request->path, &endpoint)) {
        refuse(answer, 404, "unknown_url", "Unknown request URL.");
    } else if (!slice_is(request->method, "POST")) {
        refuse(answer, 405, "method_not_allowed", "Not allowed to do that.");
    } else if (mock_ask_read(&ask, request->body, &names)) {
        refuse(answer, 400, "invalid_json", "We could not parse the JSON body of your request.");
    } else if (read_model(answer, &ask)) {
        decide(answer, &ask, endpoint, now_us);
    }
}

void mock_answer_fini(struct mock_answer *answer)
{
    mock_say_fini(&answer->say);
    buf_free(&answer->body);
    mock_options_free(answer->own);
}

/* xorshift64: the same seed gives the same run. */
static double next_random(int seed)
{
    static uint64_t state;

    if (!state)
        state = 0x9e3779b97f4a7c15u ^ ((uint64_t)seed << 17);
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (double)(state >> 11) / (double)((uint64_t)1 << 53);
}

static bool plays_fault(const struct mock_options *options, int number)
{
    if (options->fault_first && number > options->fault_first)
        return false;
    if (options->fault_every && number % options->fault_every != 0)
        return false;
    return options->fault_rate >= 1 || next_random(options->seed) < options->fault_rate;
}

static const struct mock_shape *shape_of(const struct mock_answer *answer)
{
    const struct mock_options *options = answer->options;
    const char *name = options->shape        ? options->shape
                       : answer->fault.shape ? answer->fault.shape
                       : options->ratelimit  ? options->ratelimit
                                             : "openai";
    const struct mock_shape *shape = mock_shape_get(name);

    return shape ? shape : mock_shape_get("openai");
}

static struct mock_error error_of(const struct mock_answer *answer)
{
    const char *retry_after = answer->options->retry_after;

    if (!retry_after && answer->retry_after[0])
        retry_after = answer->retry_after;
    return (struct mock_error){answer->status, answer->options->code, answer->options->message,
                               retry_after};
}

static void refuse(struct mock_answer *answer, int status, const char *code, const char *message)
{
    const struct mock_shape *shape = shape_of(answer);
    struct mock_error error = error_of(answer);

    error.status = answer->status = status;
    error.code = code ? code : error.code;
    error.message = message ? message : error.message;
    answer->type = mock_shape_type(shape);
    mock_shape_add(shape, &answer->body, error);
}

/* A 429 says that what --spent names is spent, until Retry-After. */
static void spend(struct mock_answer *answer)
{
    const struct mock_options *options = answer->options;
    bool tokens = options->spent && strcmp(options->spent, "tokens") == 0;

    double wait_s = options->retry_after ? strtod(options->retry_after, NULL) : 0;
    if (wait_s > 0 && wait_s < 1 << 20)
        answer->quota.reset_ms = (int)(wait_s * 1000);
    answer->quota.left[tokens] = 0;
    if (tokens && answer->quota.left[0] == 0)
        answer->quota.left[0] = 1;
}

static void refuse_limit(struct mock_answer *answer)
{
    snprintf(answer->retry_after, sizeof answer->retry_after, "%d",
             (answer->quota.reset_ms + 999) / 1000);
    spend(answer);
    refuse(answer, 429, NULL, NULL);
}

static void set_framing(struct mock_answer *answer, bool stream)
{
    const char *framing = answer->options->framing;
    unsigned by_chunks = MOCK_TRAILERS | MOCK_BAD_CHUNK_SIZE;

    if (answer->framing == MOCK_BY_CLOSE) /* HTTP/1.0 */
        return;
    if (framing && strcmp(framing, "close") == 0)
        answer->framing = MOCK_BY_CLOSE;
    else if (stream || answer->fault.quirks & by_chunks ||
             (framing && strcmp(framing, "chunked") == 0))
        answer->framing = MOCK_BY_CHUNKS;
}

/* A gzip member (RFC 1952) that holds body in stored blocks (RFC 1951, 3.2.4). */
static void compress(struct buf *body)
{
    struct buf out = {0};
    uint32_t crc = 0xffffffff, size = (uint32_t)body->len;

    for (size_t i = 0; i < body->len; i++) {
        crc ^= (unsigned char)body->ptr[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
    }
    crc = ~crc;
    buf_add(&out, SLICE("\x1f\x8b\x08\0\0\0\0\0\0\xff"));
    do {
        size_t some = body->len < 65535 ? body->len : 65535;
        unsigned char block[5] = {some == body->len, (unsigned char)some,
                                  (unsigned char)(some >> 8), (unsigned char)~some,
                                  (unsigned char)(~some >> 8)};
        buf_add(&out, (struct slice){(char *)block, sizeof block});
        buf_add(&out, (struct slice){body->ptr, some});
        buf_drop(body, some);
    } while (body->len);
    for (int i = 0; i < 32; i += 8)
        buf_add_char(&out, (char)(crc >> i));
    for (int i = 0; i < 32; i += 8)
        buf_add_char(&out, (char)(size >> i));
    buf_free(body);
    *body = out;
}

/* The body of an answer that does not walk. */
static void fill_body(struct mock_answer *answer)
{
    buf_reserve(&answer->body, USUAL_BODY);
    if (answer->options->raw)
        buf_add_text(&answer->body, answer->options->raw);
    else
        mock_say_plain(&answer->say, &answer->body);
    if (answer->fault.quirks & MOCK_TRUNCATED_JSON)
        answer->body.len /= 2;
    if (answer->fault.quirks & MOCK_GZIP)
        compress(&answer->body);
    if (answer->fault.act == MOCK_STOP && answer->fault.at < (int)answer->body.len)
        answer->body.len = answer->fault.at > 0 ? (size_t)answer->fault.at : 0;
}

static void set_type(struct mock_answer *answer, bool stream)
{
    if (stream)
        answer->type = "text/event-stream; charset=utf-8";
    if (answer->options->raw && answer->options->type)
        answer->type = answer->options->type;
}

static void decide(struct mock_answer *answer, const struct mock_ask *ask,
                   enum mock_endpoint endpoint, uint64_t now_us)
{
    static uint64_t answers;
    const struct mock_options *options = answer->options;
    bool stream = ask->stream && endpoint != MOCK_EMBEDDINGS;
    int number;

    answer->limited = mock_limit_take(options, ask->model, now_us, &answer->quota, &number);
    bool refused = !answer->limited;
    answer->limited = number && options->ratelimit;
    if (refused) {
        refuse_limit(answer);
        return;
    }
    if (plays_fault(options, number)) {
        answer->fault = options->fault;
        if (answer->fault.act && options->after != MOCK_AT_START)
            answer->fault.at = options->after;
    }
    if (answer->fault.act == MOCK_ERROR && !stream)
        answer->fault = (struct mock_fault){.status = 200};
    set_framing(answer, stream && !answer->fault.status);
    if (answer->fault.status) {
        if (answer->fault.status == 429)
            spend(answer);
        refuse(answer, answer->fault.status, NULL, NULL);
        return;
    }
    mock_say_init(&answer->say, options, &answer->fault, endpoint, ask, ++answers);
    set_type(answer, stream);
    answer->stream = stream && !options->raw && !(answer->fault.quirks & MOCK_GZIP);
    if (!answer->stream)
        fill_body(answer);
    if (answer->stream && answer->fault.at > answer->say.chunks &&
        answer->fault.at < MOCK_AT_FINISH)
        answer->fault.at = answer->say.chunks;
}

int mock_answer_wait_ms(const struct mock_answer *answer)
{
    if (answer->at == MOCK_AT_START)
        return answer->options->latency_ms;
    if (answer->stream && answer->at >= 0 && answer->at < answer->say.chunks)
        return answer->options->interval_ms;
    return 0;
}

static bool is_there(const struct mock_answer *answer)
{
    return answer->fault.act && answer->fault.at == answer->at;
}

/* One piece of the body in the framing of the answer. */
static void frame(struct mock_answer *answer, struct buf *out, struct slice bytes)
{
    if (answer->framing != MOCK_BY_CHUNKS) {
        buf_add(out, bytes);
        return;
    }
    if (!bytes.len)
        return;
    if (answer->fault.quirks & MOCK_BAD_CHUNK_SIZE)
        buf_add_text(out, "zz\r\n");
    else
        buf_add_format(out, "%zx\r\n", bytes.len);
    buf_add(out, bytes);
    buf_add_text(out, "\r\n");
}

static void finish_body(struct mock_answer *answer, struct buf *out)
{
    answer->at = MOCK_AT_END;
    if (answer->framing == MOCK_BY_CLOSE)
        answer->keep_alive = false;
    if (answer->framing == MOCK_BY_CHUNKS && !(answer->fault.quirks & MOCK_TRAILERS))
        buf_add_text(out, "0\r\n\r\n");
    if (answer->framing == MOCK_BY_CHUNKS && answer->fault.quirks & MOCK_TRAILERS)
        buf_add_text(out, "0\r\nx-mock-trailer: last\r\nx-request-id: trailer\r\n\r\n");
    if (answer->fault.quirks & MOCK_EXTRA_BYTES)
        buf_add_text(out, "and some more that nobody announced");
}

static void step_event(struct mock_answer *answer, struct buf *frames)
{
    struct mock_say *say = &answer->say;

    switch (answer->at) {
    case MOCK_AT_BODY:
        mock_say_role(say, frames);
        answer->at = 0;
        return;
    case MOCK_AT_FINISH:
        if (say->usage)
            mock_say_usage(say, frames);
        answer->at = MOCK_AT_USAGE;
        return;
    case MOCK_AT_USAGE:
        if (!answer->options->no_done)
            mock_say_done(say, frames);
        answer->at = MOCK_AT_DONE;
        return;
    }
    if (answer->at < say->chunks) {
        mock_say_chunk(say, answer->at++, frames);
    } else {
        mock_say_finish(say, frames);
        answer->at = MOCK_AT_FINISH;
    }
}

static void step_stream(struct mock_answer *answer, struct buf *out)
{
    static struct buf frames; /* one thread: kept for its room */
    int count = answer->fault.quirks & MOCK_BURST ? answer->fault.size : 1;

    if (answer->at == MOCK_AT_DONE) {
        finish_body(answer, out);
        return;
    }
    do {
        buf_clear(&frames);
        if (answer->fault.quirks & MOCK_COMMENTS)
            mock_say_comment(&answer->say, &frames);
        step_event(answer, &frames);
        frame(answer, out, buf_slice(&frames));
    } while (--count > 0 && answer->at < MOCK_AT_FINISH && !is_there(answer));
}

static bool cuts_body(const struct mock_answer *answer)
{
    return answer->fault.act && !answer->cut && answer->fault.at >= 0 &&
           (size_t)answer->fault.at < answer->body.len;
}

/* The body up to where the fault is, announced whole. */
static void start_cut(struct mock_answer *answer, struct buf *out)
{
    answer->cut = true;
    answer->at = answer->fault.at;
    answer->sent = (size_t)answer->fault.at;
    if (answer->framing == MOCK_BY_CHUNKS)
        buf_add_format(out, "%zx\r\n", answer->body.len);
    buf_add(out, (struct slice){answer->body.ptr, answer->sent});
}

static void step_plain(struct mock_answer *answer, struct buf *out)
{
    struct slice rest = {answer->body.ptr + answer->sent, answer->body.len - answer->sent};

    if (cuts_body(answer)) {
        start_cut(answer, out);
        return;
    }
    if (answer->cut) {
        buf_add(out, rest);
        buf_add_text(out, answer->framing == MOCK_BY_CHUNKS ? "\r\n" : "");
    } else {
        frame(answer, out, rest);
    }
    finish_body(answer, out);
}

static enum mock_act do_fault(struct mock_answer *answer, struct buf *out)
{
    struct buf frames = {0};

    switch (answer->fault.act) {
    case MOCK_ERROR:
        mock_shape_add_event(shape_of(answer), &frames, error_of(answer),
                             mock_say_eol(answer->options));
        frame(answer, out, buf_slice(&frames));
        buf_free(&frames);
        finish_body(answer, out);
        return MOCK_GO_ON;
    case MOCK_STOP: finish_body(answer, out); return MOCK_GO_ON;
    default: return answer->fault.act;
    }
}

static enum mock_act step_head(struct mock_answer *answer, struct buf *out)
{
    size_t from = out->len;

    struct mock_head head = {
        .status = answer->status,
        .type = answer->type,
        .framing = answer->framing,
        .length = answer->body.len,
        .keep_alive = answer->keep_alive,
        .retry_after = answer->status >= 400 ? error_of(answer).retry_after : NULL,
        .quota = answer->limited ? &answer->quota : NULL,
        .fault = &answer->fault,
        .options = answer->options,
    };
    mock_head_add(&head, out);
    answer->at = MOCK_AT_BODY;
    if (!answer->fault.act || answer->fault.at != MOCK_AT_HEAD)
        return MOCK_GO_ON;
    out->len = from + (out->len - from) / 2;
    return answer->fault.act;
}

enum mock_act mock_answer_step(struct mock_answer *answer, struct buf *out)
{
    if (answer->at == MOCK_AT_END)
        return MOCK_WHOLE;
    if (is_there(answer) && (answer->stream || answer->fault.act != MOCK_STOP))
        return do_fault(answer, out);
    if (answer->at == MOCK_AT_START) {
        enum mock_act act = step_head(answer, out);
        if (act || answer->stream || is_there(answer))
            return act;
    }
    if (answer->stream)
        step_stream(answer, out);
    else
        step_plain(answer, out);
    return MOCK_GO_ON;
}

void mock_answer_resume(struct mock_answer *answer)
{
    answer->fault.act = MOCK_GO_ON;
}

void mock_answer_ping(const struct mock_answer *answer, struct buf *out)
{
    static const char ping[] = ": ping\n\n";

    if (!answer->stream || answer->at < MOCK_AT_BODY)
        return;
    if (answer->framing == MOCK_BY_CHUNKS)
        buf_add_text(out, "8\r\n: ping\n\n\r\n");
    else
        buf_add_text(out, ping);
}
