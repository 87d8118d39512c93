/* json_plain.h -- the plain cases of json.h's functions, inline: for a walk over
 * every chunk of every stream, which is some thirty tokens each.
 *
 * Each does what the one of json.h does that it ends in, and goes there with
 * whatever is not plain: escapes, UTF-8, deep nesting, the end of the text and
 * everything that is wrong.  So nothing here knows of errors. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "json.h"
#include "json_text.h"

/* From behind an opening quote to behind the closing one, if nothing special is
 * between them and another byte follows; else NULL. */
static inline const char *json_plain_string(const char *ptr, const char *end)
{
    for (; end - ptr > JSON_BLOCK; ptr += JSON_BLOCK) {
        unsigned found = json_find_special(ptr);
        if (found) {
            ptr += __builtin_ctz(found);
            return *ptr == '"' ? ptr + 1 : NULL;
        }
    }
    ptr = json_step_prose(ptr, end);
    return end - ptr > 1 && *ptr == '"' ? ptr + 1 : NULL;
}

/* Over digits alone, as tokens are counted; NULL if it may be more than that. */
static inline const char *json_plain_count(const char *ptr, const char *end)
{
    if (*ptr < '1' || *ptr > '9')
        return NULL;
    while (ptr < end && *ptr >= '0' && *ptr <= '9')
        ptr++;
    return ptr < end && (*ptr == ',' || *ptr == '}') ? ptr : NULL;
}

static inline struct slice json_plain_skip(struct json *json)
{
    const char *from = json->ptr;
    const char *to = NULL;

    if (json->err || json->end - from < 5)
        return json_skip(json);
    if (*from == ' ')
        from++;
    if (*from == '"')
        to = json_plain_string(from + 1, json->end);
    else if (memcmp(from, "null", 4) == 0)
        to = from + 4;
    else
        to = json_plain_count(from, json->end);
    if (!to)
        return json_skip(json);
    json->ptr = to;
    json->fresh = false;
    json->escaped = false;
    return (struct slice){from, (size_t)(to - from)};
}

/* Enters the container that opens here; false if none does, and nothing has moved. */
static inline bool json_plain_enter(struct json *json, char opening)
{
    const char *ptr = json->ptr;

    if (json->err || json->end - ptr < 2 || json->depth == JSON_MAX_DEPTH)
        return false;
    if (*ptr == ' ')
        ptr++;
    if (*ptr != opening)
        return false;
    json->ptr = ptr + 1;
    json->depth++;
    json->fresh = true;
    return true;
}

static inline bool json_plain_next_member(struct json *json, struct slice *name)
{
    const char *ptr = json->ptr;

    if (json->err || json->end - ptr < 2)
        return json_next_member(json, name);
    if (*ptr == '}') {
        json->ptr++;
        json->depth--;
        json->fresh = false;
        return false;
    }
    if (!json->fresh && *ptr++ != ',')
        return json_next_member(json, name);
    if ((unsigned char)*ptr <= ' ') {
        ptr = json_step_space(ptr, json->end);
        if (ptr == json->end)
            return json_next_member(json, name);
    }
    const char *to = *ptr == '"' ? json_plain_string(ptr + 1, json->end) : NULL;
    if (!to || *to != ':')
        return json_next_member(json, name);
    *name = (struct slice){ptr + 1, (size_t)(to - ptr) - 2};
    json->ptr = to + 1;
    json->fresh = false;
    json->escaped = false;
    return true;
}
