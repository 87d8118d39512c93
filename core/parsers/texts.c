/* texts.c -- a walk over choices, messages and tool calls. */
/* SPDX-License-Identifier: MIT */
#include "texts.h"
#include "json.h"
#include <stdlib.h>

struct walk {
    struct json json;
    texts_visit *visit;
    void *arg;
    int index;
    bool is_delta; /* one of a stream */
};

static void take_text(struct walk *walk, enum chunk_kind kind, bool is_name)
{
    if (json_peek(&walk->json) != JSON_STRING) {
        json_skip(&walk->json);
        return;
    }
    struct slice value = json_skip(&walk->json);
    struct text_place place = {kind, walk->index, {value.ptr + 1, value.len - 2}, is_name};
    walk->visit(walk->arg, &place);
}

static void take_string(struct walk *walk, enum chunk_kind kind)
{
    take_text(walk, kind, false);
}

/* {"arguments": "…"} */
static void take_function(struct walk *walk)
{
    struct slice name;

    if (json_peek(&walk->json) != JSON_OBJECT) {
        json_skip(&walk->json);
        return;
    }
    for (json_enter_object(&walk->json); json_next_member(&walk->json, &name);) {
        if (json_string_is(name, "arguments"))
            take_string(walk, CHUNK_TOOL_CALL);
        else if (walk->is_delta && json_string_is(name, "name"))
            take_text(walk, CHUNK_TOOL_CALL, true);
        else
            json_skip(&walk->json);
    }
}

/* An object of which one member counts: a part's text, or a tool call's function. */
static void take_item(struct walk *walk, const char *wanted)
{
    struct slice name;

    if (json_peek(&walk->json) != JSON_OBJECT) {
        json_skip(&walk->json);
        return;
    }
    for (json_enter_object(&walk->json); json_next_member(&walk->json, &name);) {
        if (!json_string_is(name, wanted))
            json_skip(&walk->json);
        else if (wanted[0] == 't')
            take_string(walk, CHUNK_CONTENT);
        else
            take_function(walk);
    }
}

static void take_items(struct walk *walk, const char *wanted)
{
    if (json_peek(&walk->json) != JSON_ARRAY) {
        json_skip(&walk->json);
        return;
    }
    for (json_enter_array(&walk->json); json_next_element(&walk->json);)
        take_item(walk, wanted);
}

static void take_message(struct walk *walk)
{
    struct slice name;

    if (json_peek(&walk->json) != JSON_OBJECT) {
        json_skip(&walk->json);
        return;
    }
    for (json_enter_object(&walk->json); json_next_member(&walk->json, &name);) {
        bool is_content = json_string_is(name, "content");
        if (is_content && json_peek(&walk->json) == JSON_ARRAY)
            take_items(walk, "text");
        else if (is_content || json_string_is(name, "refusal"))
            take_string(walk, CHUNK_CONTENT);
        else if (json_string_is(name, "reasoning") || json_string_is(name, "reasoning_content"))
            take_string(walk, CHUNK_REASONING);
        else if (json_string_is(name, "tool_calls"))
            take_items(walk, "function");
        else if (json_string_is(name, "function_call"))
            take_function(walk);
        else
            json_skip(&walk->json);
    }
}

/* The choice's own index, wherever in it it stands. */
static int index_of(struct slice choice, int position)
{
    struct json json = json_init(choice);
    struct slice name;

    for (json_enter_object(&json); json_next_member(&json, &name);) {
        struct slice value = json_skip(&json);
        if (json_string_is(name, "index"))
            return (int)strtol(value.ptr, NULL, 10);
    }
    return position;
}

static void take_choice(struct walk *walk, int position)
{
    struct slice name;

    if (json_peek(&walk->json) != JSON_OBJECT) {
        json_skip(&walk->json);
        return;
    }
    struct json ahead = walk->json;
    walk->index = index_of(json_skip(&ahead), position);
    for (json_enter_object(&walk->json); json_next_member(&walk->json, &name);) {
        if (json_string_is(name, walk->is_delta ? "delta" : "message"))
            take_message(walk);
        else if (json_string_is(name, "text"))
            take_string(walk, CHUNK_CONTENT);
        else
            json_skip(&walk->json);
    }
}

static void take_all(struct walk *walk)
{
    struct slice name;

    if (json_peek(&walk->json) != JSON_OBJECT)
        return;
    for (json_enter_object(&walk->json); json_next_member(&walk->json, &name);) {
        if (!json_string_is(name, "choices") || json_peek(&walk->json) != JSON_ARRAY) {
            json_skip(&walk->json);
            continue;
        }
        int position = 0;
        for (json_enter_array(&walk->json); json_next_element(&walk->json);)
            take_choice(walk, position++);
    }
}

void texts_each(struct slice answer, texts_visit *visit, void *arg)
{
    struct walk walk = {json_init(answer), visit, arg, 0, false};
    take_all(&walk);
}

void texts_each_delta(struct slice message, texts_visit *visit, void *arg)
{
    struct walk walk = {json_init(message), visit, arg, 0, true};
    take_all(&walk);
}
