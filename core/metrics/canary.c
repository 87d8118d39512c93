/* canary.c -- counts in shared memory, and a test of two rates. */
/* SPDX-License-Identifier: MIT */
#include "canary.h"
#include "leaves/shm.h"
#include "parsers/json.h"
#include <math.h>
#include <stdatomic.h>

enum {
    ERRORS_MIN = 3, /* fewer are no evidence of anything */
    LATEST = 10,    /* times the requests that it needs: then it is good, or was found bad */
};

static const double BAD_SIGMA = 3, GOOD_SIGMA = 1;

struct side {
    _Atomic unsigned number;
    _Atomic uint64_t requests, errors;
};

struct canary {
    struct side old, fresh;
};

/* ---- judging ---- */

/* Errors that the new one would have at the old one's rate, and how much chance adds.  Without any
 * request of the old one its rate counts as none. */
enum canary_verdict canary_judge(const struct canary_counts *old, const struct canary_counts *fresh,
                                 uint64_t requests, bool is_due)
{
    double rate = old->requests ? (double)old->errors / (double)old->requests : 0;
    double expected = rate * (double)fresh->requests, errors = (double)fresh->errors;
    double sigma = sqrt(expected * (1 - rate));

    if (errors >= ERRORS_MIN && errors > expected + BAD_SIGMA * sigma)
        return CANARY_IS_BAD;
    if (fresh->requests < requests || !is_due)
        return CANARY_GOES_ON;
    if (errors <= expected + GOOD_SIGMA * sigma || fresh->requests / LATEST >= requests)
        return CANARY_IS_GOOD;
    return CANARY_GOES_ON;
}

/* ---- who goes there ---- */

static uint64_t add_hash(uint64_t sum, struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        sum = (sum ^ (unsigned char)text.ptr[i]) * 1099511628211u; /* FNV-1a */
    return sum;
}

static bool is_from_user(struct slice message)
{
    struct json json = json_init(message);
    struct slice name;

    if (!json_open_object(&json))
        return false;
    while (json_next_member(&json, &name)) {
        if (!json_string_is(name, "role") || json_peek(&json) != JSON_STRING)
            continue;
        struct slice role = json_skip(&json);
        return json_string_is((struct slice){role.ptr + 1, role.len - 2}, "user");
    }
    return false;
}

/* Of messages those that no later turn of the conversation changes. */
static uint64_t add_beginning(uint64_t sum, struct slice messages)
{
    struct json json = json_init(messages);

    if (json_peek(&json) != JSON_ARRAY || !json_open_array(&json))
        return add_hash(sum, messages);
    while (json_next_element(&json)) {
        struct slice message = json_skip(&json);
        sum = add_hash(sum, message);
        if (is_from_user(message))
            break;
    }
    return sum;
}

double canary_place(const char *key_name, struct slice said)
{
    uint64_t sum = add_hash(14695981039346656037u, slice_of(key_name ? key_name : ""));

    sum = add_beginning(sum, said);
    /* FNV's high bits move little with the last bytes: a finalizer mixes them (splitmix64). */
    sum = (sum ^ (sum >> 30)) * 0xbf58476d1ce4e5b9u;
    sum = (sum ^ (sum >> 27)) * 0x94d049bb133111ebu;
    return (double)((sum ^ (sum >> 31)) >> 11) / 9007199254740992.0; /* 2^53 */
}

/* ---- the tally ---- */

struct canary *canary_new(void)
{
    return shm_new(sizeof(struct canary));
}

void canary_free(struct canary *canary)
{
    shm_free(canary, sizeof *canary);
}

static void begin(struct side *side, unsigned number)
{
    side->number = 0; /* what ends meanwhile is of the trial before */
    side->requests = side->errors = 0;
    side->number = number;
}

void canary_begin(struct canary *canary, unsigned old, unsigned fresh)
{
    begin(&canary->old, fresh ? old : 0);
    begin(&canary->fresh, fresh);
}

void canary_count(struct canary *canary, unsigned number, bool is_error)
{
    struct side *side = number == canary->fresh.number ? &canary->fresh
                        : number == canary->old.number ? &canary->old
                                                       : NULL;

    if (!side || !number)
        return;
    if (is_error)
        side->errors++; /* read before the requests that they are part of */
    side->requests++;
}

static struct canary_counts read_side(const struct side *side)
{
    uint64_t errors = side->errors;
    return (struct canary_counts){.requests = side->requests, .errors = errors};
}

void canary_read(const struct canary *canary, struct canary_counts *old,
                 struct canary_counts *fresh)
{
    *old = read_side(&canary->old);
    *fresh = read_side(&canary->fresh);
}
