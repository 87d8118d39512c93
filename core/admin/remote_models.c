/* remote_models.c -- GET /config has the names. */
/* SPDX-License-Identifier: MIT */
#include "remote_models.h"
#include "parsers/json.h"
#include <stdio.h>

enum { SHOWN = 400 }; /* bytes of the names there are */

struct names {
    struct buf quoted; /* each as in JSON, with a comma behind it */
    bool has_any;      /* "*" is among them, which serves every name */
};

/* Stands before a model's object, and steps over it. */
static void read_model(struct json *json, struct names *names)
{
    struct slice name;

    json_enter_object(json);
    while (json_next_member(json, &name)) {
        if (!slice_is(name, "name"))
            continue;
        struct slice value = json_skip(json);
        names->has_any = names->has_any || slice_is(value, "\"*\"");
        buf_add(&names->quoted, value);
        buf_add_char(&names->quoted, ',');
    }
}

static void read_models(struct slice config, struct names *names)
{
    struct json json = json_init(config);
    struct slice name;

    json_enter_object(&json);
    while (json_next_member(&json, &name)) {
        if (!slice_is(name, "models"))
            continue;
        json_enter_array(&json);
        while (json_next_element(&json))
            read_model(&json, names);
    }
}

static bool has(const struct names *names, struct slice name)
{
    struct buf quoted = {0};

    buf_add_char(&quoted, ','); /* every name stands between two */
    json_quote(&quoted, name);
    buf_add_char(&quoted, ',');
    bool is_there = memmem(names->quoted.ptr, names->quoted.len, quoted.ptr, quoted.len) != NULL;
    buf_free(&quoted);
    return is_there;
}

static void note_each(const struct names *names, const char *text)
{
    struct slice known = {names->quoted.ptr + 1, names->quoted.len - 2};

    for (const char *end; *text; text = *end ? end + 1 : end) {
        end = strchrnul(text, ',');
        struct slice name = slice_trim((struct slice){text, (size_t)(end - text)});
        if (name.len && !has(names, name))
            fprintf(stderr, "weir: note: weir.lua has no model '%.*s' now; there are %.*s\n",
                    (int)name.len, name.ptr, known.len < SHOWN ? (int)known.len : SHOWN, known.ptr);
    }
}

void remote_note_models(struct remote *remote, const char *names)
{
    struct remote asked = *remote; /* what else it was told is not for this */
    struct names models = {0};
    struct buf said = {0};

    asked.wants_json = true;
    buf_add_char(&models.quoted, ',');
    if (remote_ask(&asked, "GET /config", (struct slice){"", 0}, &said) == 200) {
        read_models(buf_slice(&said), &models);
        if (!models.has_any && models.quoted.len > 1)
            note_each(&models, names);
    }
    buf_free(&said);
    buf_free(&models.quoted);
}
