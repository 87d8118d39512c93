/* json_plain.h -- what most of a chunk is, inline: values and names that can be
 * told in one look at a block or two of them.
 *
 * A stream's chunk is some thirty tokens, and there are many chunks.  What is
 * not plain (escapes, UTF-8, the last bytes of a text), and all that is wrong,
 * is left to json.c, with nothing moved; so nothing here knows of errors. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "json.h"
#include "json_text.h"

/* From behind an opening quote to behind the closing one, if all between them is
 * ASCII without escapes, and another byte follows; else NULL. */
static inline const char *json_plain_string(const char *ptr, const char *end)
{
    if (end - ptr > JSON_BLOCK) {
        unsigned found = json_find_special(ptr);
        if (found) {
            ptr += json_first(found);
            return *ptr == '"' ? ptr + 1 : NULL;
        }
    }
    ptr = json_step_prose(ptr, end);
    return end - ptr > 1 && *ptr == '"' ? ptr + 1 : NULL;
}

/* Over digits alone, which a comma or a brace follows; else NULL. */
static inline const char *json_plain_count(const char *ptr, const char *end)
{
    const char *to = json_step_digits(ptr, end);

    if (to == ptr || to == end || (*to != ',' && *to != '}'))
        return NULL;
    return *ptr == '0' && to > ptr + 1 ? NULL : to;
}

/* Over a plain string, null or a count, and another byte follows; else NULL. */
static inline const char *json_plain_value(const char *ptr, const char *end)
{
    if (end - ptr <= 4)
        return NULL;
    if (*ptr == '"')
        return json_plain_string(ptr + 1, end);
    if (memcmp(ptr, "null", 4) == 0)
        return ptr + 4;
    return json_plain_count(ptr, end);
}

/* What json_plain_next_member goes to when anything is not plain; in json.c. */
bool json_slow_next_member(struct json *json, struct slice *name);

/* json_next_member, for the hottest loops: over a value that nobody wanted, a comma,
 * a name and a colon. */
static inline __attribute__((always_inline)) bool json_plain_next_member(struct json *json,
                                                                         struct slice *name)
{
    const char *end = json->end;
    const char *ptr = json->ptr;
    struct slice found; /* so that *name may stay in registers */

    switch (json->place) {
    case JSON_AT_VALUE:
        ptr = json_plain_value(json_step_space(ptr, end), end);
        if (!ptr)
            goto slow;
        break;
    case JSON_AT_FIRST:
    case JSON_AT_NEXT:
        if (ptr == end)
            goto slow;
        break;
    case JSON_FAILED: return false;
    }
    if (*ptr == '}') {
        json->ptr = ptr + 1;
        json->depth--;
        json->place = JSON_AT_NEXT;
        return false;
    }
    if (json->place != JSON_AT_FIRST && *ptr++ != ',')
        goto slow;
    if (ptr < end && *ptr != '"')
        ptr = json_step_space(ptr, end);
    const char *to = ptr < end && *ptr == '"' ? json_plain_string(ptr + 1, end) : NULL;
    if (!to || *to != ':')
        goto slow;
    *name = (struct slice){ptr + 1, (size_t)(to - ptr) - 2};
    json->ptr = to + 1;
    json->place = JSON_AT_VALUE;
    json->escaped = false;
    return true;
slow:
    if (!json_slow_next_member(json, &found))
        return false;
    *name = found;
    return true;
}
