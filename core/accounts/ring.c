/* ring.c -- records one behind another, each with its length before it, none across the end.
 *
 *       take                     put
 *        v                        v
 *   ....[len|record][len|record]..........[SKIP] and on from the front
 *
 * Both places only grow; what they mean is their rest by RING_BYTES.  A record is whole before its
 * end is published: put moves last. */
/* SPDX-License-Identifier: MIT */
#include "ring.h"
#include "leaves/shm.h"
#include <stdatomic.h>

enum { WORD = sizeof(uint64_t) };

static const uint64_t SKIP = UINT64_MAX; /* in place of a length: nothing more before the end */

struct ring {
    _Atomic uint64_t put;
    char apart[64]; /* that one's writes do not slow the other's reads */
    _Atomic uint64_t taken;
};

struct rings {
    _Atomic int64_t keep_s, room;
    _Atomic uint64_t counts[2];
    struct ring list[RING_COUNT]; /* side by side: the clerk looks at all, all the time */
    char bytes[RING_COUNT][RING_BYTES];
};

struct rings *rings_new(void)
{
    return shm_new_sparse(sizeof(struct rings));
}

void rings_free(struct rings *rings)
{
    shm_free(rings, sizeof *rings);
}

void rings_allow(struct rings *rings, struct rings_rule rule)
{
    atomic_store(&rings->room, rule.room);
    atomic_store(&rings->keep_s, rule.keep_s);
}

struct rings_rule rings_allowed(const struct rings *rings)
{
    return (struct rings_rule){atomic_load(&rings->keep_s), atomic_load(&rings->room)};
}

void rings_count(struct rings *rings, enum rings_count what, uint64_t more)
{
    atomic_fetch_add(&rings->counts[what], more);
}

uint64_t rings_counted(const struct rings *rings, enum rings_count what)
{
    return atomic_load(&rings->counts[what]);
}

static bool has_ring(int worker)
{
    return worker >= 0 && worker < RING_COUNT;
}

static size_t size_of(size_t len)
{
    return WORD + (len + WORD - 1) / WORD * WORD;
}

static void write_word(char *bytes, uint64_t at, uint64_t word)
{
    memcpy(bytes + at % RING_BYTES, &word, WORD);
}

static uint64_t read_word(const char *bytes, uint64_t at)
{
    uint64_t word;

    memcpy(&word, bytes + at % RING_BYTES, WORD);
    return word;
}

/* What is left before the end, when a record of that size does not fit there. */
static uint64_t gap_at(uint64_t at, size_t size)
{
    uint64_t left = RING_BYTES - at % RING_BYTES;
    return left < size ? left : 0;
}

static bool put(struct ring *ring, char *bytes, struct slice record)
{
    uint64_t at = atomic_load_explicit(&ring->put, memory_order_relaxed);
    uint64_t taken = atomic_load_explicit(&ring->taken, memory_order_acquire);
    size_t size = size_of(record.len);
    uint64_t gap = gap_at(at, size);

    if (record.len > RING_BYTES || at + gap + size - taken > RING_BYTES)
        return false;
    if (gap)
        write_word(bytes, at, SKIP);
    at += gap;
    write_word(bytes, at, record.len);
    memcpy(bytes + at % RING_BYTES + WORD, record.ptr, record.len);
    atomic_store_explicit(&ring->put, at + size, memory_order_release);
    return true;
}

bool rings_put(struct rings *rings, int worker, struct slice record)
{
    if (has_ring(worker) && put(&rings->list[worker], rings->bytes[worker], record))
        return true;
    rings_count(rings, RINGS_DROPPED, 1);
    return false;
}

uint64_t rings_begin(const struct rings *rings, int worker)
{
    return atomic_load_explicit(&rings->list[worker].taken, memory_order_relaxed);
}

bool rings_next(struct rings *rings, int worker, uint64_t *at, struct slice *record)
{
    uint64_t end = atomic_load_explicit(&rings->list[worker].put, memory_order_acquire);
    const char *bytes = rings->bytes[worker];

    if (*at >= end)
        return false;
    if (read_word(bytes, *at) == SKIP)
        *at += RING_BYTES - *at % RING_BYTES;
    uint64_t len = read_word(bytes, *at), place = *at % RING_BYTES + WORD;
    if (*at >= end || len > RING_BYTES - place) { /* nobody who is sound wrote that */
        *at = end;
        return false;
    }
    *record = (struct slice){bytes + place, len};
    *at += size_of(len);
    return true;
}

/* What was taken is overwritten: other workers could read it. */
void rings_take(struct rings *rings, int worker, uint64_t at)
{
    char *bytes = rings->bytes[worker];
    uint64_t from = rings_begin(rings, worker);
    size_t len = at - from < RING_BYTES ? at - from : RING_BYTES, place = from % RING_BYTES;
    size_t first = len < RING_BYTES - place ? len : RING_BYTES - place;

    memset(bytes + place, 0, first);
    memset(bytes, 0, len - first);
    atomic_store_explicit(&rings->list[worker].taken, at, memory_order_release);
}
