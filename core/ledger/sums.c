/* sums.c -- a list, and places by hash that say where in it; both grow. */
/* SPDX-License-Identifier: MIT */
#include "sums.h"
#include "leaves/mem.h"

enum { ROOM = 256, SPREAD = 4 /* places for each sum that there is room for */ }; /* powers of 2 */

static const int64_t QUARTER_US = 900 * 1000000;

struct sums {
    size_t len, room;
    uint32_t *places; /* one more than where in the list; 0: free */
    uint64_t *hashes; /* of the list */
    struct sum *list;
};

static void make_room(struct sums *sums, size_t room)
{
    size_t last = room * SPREAD - 1;

    sums->room = room;
    sums->list = mem_resize(sums->list, room * sizeof *sums->list);
    sums->hashes = mem_resize(sums->hashes, room * sizeof *sums->hashes);
    mem_free(sums->places);
    sums->places = mem_new(room * SPREAD * sizeof *sums->places);
    for (size_t i = 0; i < sums->len; i++) {
        size_t place = sums->hashes[i] & last;
        while (sums->places[place])
            place = (place + 1) & last;
        sums->places[place] = (uint32_t)i + 1;
    }
}

struct sums *sums_new(void)
{
    struct sums *sums = mem_new(sizeof *sums);

    make_room(sums, ROOM);
    return sums;
}

void sums_free(struct sums *sums)
{
    if (!sums)
        return;
    mem_free(sums->places);
    mem_free(sums->hashes);
    mem_free(sums->list);
    mem_free(sums);
}

static uint64_t hash_of(const struct sums_key *key)
{
    static const uint64_t odd = 0x9e3779b97f4a7c15u; /* spreads small numbers */
    uint64_t hash = key->model.len ? slice_hash(key->model) * odd : 0;

    hash ^= key->target.len ? slice_hash(key->target) : 0;
    hash = (hash ^ (uint64_t)key->quarter) * odd;
    hash = (hash ^ hash >> 29 ^ (uint64_t)(uint32_t)key->account) * odd;
    hash = (hash ^ hash >> 29 ^ (uint64_t)(uint32_t)key->team) * odd;
    return hash ^ hash >> 32;
}

static struct slice fitting(struct slice text)
{
    return (struct slice){text.ptr, text.len < JOURNAL_TEXT ? text.len : JOURNAL_TEXT - 1};
}

static bool is_of(const struct sum *sum, const struct sums_key *key)
{
    return sum->quarter == key->quarter && sum->account == key->account && sum->team == key->team &&
           slice_is(fitting(key->model), sum->model) && slice_is(fitting(key->target), sum->target);
}

static void set_text(char *to, struct slice text)
{
    text = fitting(text);
    if (text.len)
        memcpy(to, text.ptr, text.len);
}

struct sum *sums_get(struct sums *sums, const struct sums_key *key)
{
    uint64_t hash = hash_of(key);

    if (sums->len == sums->room)
        make_room(sums, sums->room * 2);
    size_t last = sums->room * SPREAD - 1, place = hash & last;
    for (; sums->places[place]; place = (place + 1) & last) {
        size_t at = sums->places[place] - 1;
        if (sums->hashes[at] == hash && is_of(&sums->list[at], key))
            return &sums->list[at];
    }
    struct sum *sum = &sums->list[sums->len];
    *sum = (struct sum){.quarter = key->quarter, .account = key->account, .team = key->team};
    set_text(sum->model, key->model);
    set_text(sum->target, key->target);
    sums->hashes[sums->len++] = hash;
    sums->places[place] = (uint32_t)sums->len;
    return sum;
}

static int64_t known(int64_t count) /* -1: was not said */
{
    return count > 0 ? count : 0;
}

/* Tokens and cost are the attempts'; a request counts itself. */
void sums_add(struct sums *sums, const struct journal_slot *slot)
{
    const struct sums_key key = {.quarter = slot->ended_us / QUARTER_US,
                                 .account = slot->account,
                                 .team = slot->team,
                                 .model = slice_of(slot->model),
                                 .target = slice_of(slot->target)};
    int64_t *counts = sums_get(sums, &key)->counts;

    if (!slot->is_attempt) {
        counts[SUMS_REQUESTS]++;
        counts[SUMS_ERRORS] += slot->status >= 400 || slot->status == 0;
        return;
    }
    counts[SUMS_ATTEMPTS]++;
    counts[SUMS_PROMPT] += known(slot->prompt);
    counts[SUMS_COMPLETION] += known(slot->completion);
    counts[SUMS_CACHED] += known(slot->cached);
    counts[SUMS_REASONING] += known(slot->reasoning);
    counts[SUMS_COST] += known(slot->cost);
    counts[SUMS_ESTIMATED] += slot->is_estimated;
}

size_t sums_len(const struct sums *sums)
{
    return sums->len;
}

const struct sum *sums_at(const struct sums *sums, size_t at)
{
    return &sums->list[at];
}

void sums_clear(struct sums *sums)
{
    if (sums->len)
        memset(sums->places, 0, sums->room * SPREAD * sizeof *sums->places);
    sums->len = 0;
}
