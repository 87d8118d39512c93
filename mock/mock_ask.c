/* mock_ask.c -- one strict walk over the top level of the body. */
/* SPDX-License-Identifier: MIT */
#include "mock_ask.h"
#include "parsers/json.h"

static bool take_true(struct json *json)
{
    bool yes = json_peek(json) == JSON_TRUE;
    json_skip(json);
    return yes;
}

static void take_model(struct json *json, struct mock_ask *ask, struct buf *names)
{
    bool text = json_peek(json) == JSON_STRING;
    struct slice span = json_skip(json);

    if (!text || json->err)
        return;
    buf_clear(names);
    if (json_unescape((struct slice){span.ptr + 1, span.len - 2}, names) == ERR_OK)
        ask->model = buf_slice(names);
}

static void take_stream_options(struct json *json, struct mock_ask *ask)
{
    struct slice name;

    if (json_peek(json) != JSON_OBJECT) {
        json_skip(json);
        return;
    }
    json_enter_object(json);
    while (json_next_member(json, &name)) {
        if (slice_is(name, "include_usage"))
            ask->include_usage = take_true(json);
        else
            json_skip(json);
    }
}

static void take_input(struct json *json, struct mock_ask *ask)
{
    if (json_peek(json) != JSON_ARRAY) {
        json_skip(json);
        return;
    }
    json_enter_array(json);
    for (ask->inputs = 0; json_next_element(json); ask->inputs++)
        json_skip(json);
}

enum err mock_ask_read(struct mock_ask *ask, struct slice body, struct buf *names)
{
    struct json json = json_init(body);
    struct slice name;

    *ask = (struct mock_ask){.inputs = 1, .bytes = body.len};
    json_enter_object(&json);
    while (json_next_member(&json, &name)) {
        if (slice_is(name, "model"))
            take_model(&json, ask, names);
        else if (slice_is(name, "stream"))
            ask->stream = take_true(&json);
        else if (slice_is(name, "stream_options"))
            take_stream_options(&json, ask);
        else if (slice_is(name, "input"))
            take_input(&json, ask);
        else
            json_skip(&json);
    }
    return json_finish(&json);
}
