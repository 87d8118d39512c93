/* limits.c -- an open-addressed table of cooldowns in shared memory.
 *
 * A slot is claimed by storing its key's hash with compare-and-swap.  It is never
 * freed, but another key may take it over once its own neither cools nor is in
 * use: where a target stands for every model (provider slash star), clients name
 * the keys, and are not to fill the table.  What is cooling is not forgotten; a
 * key that finds PROBES such slots does not cool. */
/* SPDX-License-Identifier: MIT */
#include "limits.h"
#include "loop.h"
#include "shared.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { PROBES = 64 }; /* slots that a key may stand in */

struct slot {
    _Atomic uint64_t hash;      /* 0: free */
    _Atomic int64_t until_us;   /* monotonic */
    _Atomic int64_t latency_us; /* 0: unknown */
    _Atomic int inflight[LIMITS_WORKERS];
    char reason[LIMITS_REASON]; /* for people: a torn read shows a wrong word, nothing worse */
};

struct limits {
    struct shared *shared;
    struct slot slots[LIMITS_SLOTS];
};

struct limits *limits_new(void)
{
    void *memory = mmap(NULL, sizeof(struct limits), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    ((struct limits *)memory)->shared = shared_new();
    return memory;
}

/* A word that changes meanwhile is copied as it was or as it is. */
struct limits *limits_copy(const struct limits *from)
{
    struct limits *limits = limits_new();

    memcpy(limits->slots, from->slots, sizeof limits->slots);
    shared_copy(limits->shared, from->shared);
    return limits;
}

void limits_free(struct limits *limits)
{
    if (!limits)
        return;
    shared_free(limits->shared);
    munmap(limits, sizeof *limits);
}

/* Never 0, which a free slot has. */
static uint64_t hash_of(struct slice key)
{
    uint64_t hash = slice_hash(key);
    return hash ? hash : 1;
}

static struct slot *slot_at(const struct limits *limits, uint64_t hash, size_t i)
{
    return (struct slot *)&limits->slots[(hash + i) % LIMITS_SLOTS];
}

static const struct slot *find(const struct limits *limits, uint64_t hash)
{
    for (size_t i = 0; i < PROBES; i++) {
        const struct slot *slot = slot_at(limits, hash, i);
        uint64_t found = atomic_load_explicit(&slot->hash, memory_order_acquire);
        if (found == hash)
            return slot;
        if (found == 0)
            return NULL;
    }
    return NULL;
}

static bool is_idle(const struct slot *slot, int64_t now_us)
{
    if (atomic_load(&slot->until_us) > now_us)
        return false;
    for (int i = 0; i < LIMITS_WORKERS; i++)
        if (atomic_load_explicit(&slot->inflight[i], memory_order_relaxed))
            return false;
    return true;
}

/* Takes over a slot whose key neither cools nor is in use. */
static struct slot *take_over(struct limits *limits, uint64_t hash)
{
    int64_t now_us = loop_now_us();

    for (size_t i = 0; i < PROBES; i++) {
        struct slot *slot = slot_at(limits, hash, i);
        uint64_t old = atomic_load(&slot->hash);
        if (!is_idle(slot, now_us) || !atomic_compare_exchange_strong(&slot->hash, &old, hash))
            continue;
        atomic_store(&slot->until_us, 0);
        atomic_store(&slot->latency_us, 0);
        return slot;
    }
    return NULL;
}

static struct slot *claim(struct limits *limits, uint64_t hash)
{
    for (size_t i = 0; i < PROBES; i++) {
        struct slot *slot = slot_at(limits, hash, i);
        uint64_t found = 0;
        if (atomic_compare_exchange_strong(&slot->hash, &found, hash) || found == hash)
            return slot;
    }
    return take_over(limits, hash);
}

void limits_cool(struct limits *limits, struct slice key, int64_t until_us, const char *reason)
{
    struct slot *slot = claim(limits, hash_of(key));
    if (!slot)
        return;

    int64_t old = atomic_load(&slot->until_us);
    do {
        if (old >= until_us)
            return;
    } while (!atomic_compare_exchange_weak(&slot->until_us, &old, until_us));
    strncpy(slot->reason, reason ? reason : "", LIMITS_REASON - 1);
}

void limits_uncool(struct limits *limits, struct slice key)
{
    struct slot *slot = claim(limits, hash_of(key));
    if (slot)
        atomic_store(&slot->until_us, 0);
}

int64_t limits_cooling_until(const struct limits *limits, struct slice key, int64_t now_us,
                             const char **reason)
{
    const struct slot *slot = find(limits, hash_of(key));
    int64_t until = slot ? atomic_load_explicit(&slot->until_us, memory_order_relaxed) : 0;

    if (until <= now_us)
        return 0;
    if (reason)
        *reason = slot->reason;
    return until;
}

/* ---- attempts and answers ---- */

void limits_begin(struct limits *limits, struct slice key, int worker)
{
    struct slot *slot = claim(limits, hash_of(key));
    if (slot)
        atomic_fetch_add_explicit(&slot->inflight[worker % LIMITS_WORKERS], 1,
                                  memory_order_relaxed);
}

void limits_end(struct limits *limits, struct slice key, int worker)
{
    struct slot *slot = claim(limits, hash_of(key));
    if (slot)
        atomic_fetch_sub_explicit(&slot->inflight[worker % LIMITS_WORKERS], 1,
                                  memory_order_relaxed);
}

int limits_inflight(const struct limits *limits, struct slice key)
{
    const struct slot *slot = find(limits, hash_of(key));
    int sum = 0;

    for (int i = 0; slot && i < LIMITS_WORKERS; i++)
        sum += atomic_load_explicit(&slot->inflight[i], memory_order_relaxed);
    return sum;
}

void limits_forget(struct limits *limits, int worker)
{
    for (size_t i = 0; i < LIMITS_SLOTS; i++)
        if (atomic_load_explicit(&limits->slots[i].hash, memory_order_relaxed))
            atomic_store(&limits->slots[i].inflight[worker % LIMITS_WORKERS], 0);
}

void limits_answered(struct limits *limits, struct slice key, int64_t us)
{
    struct slot *slot = claim(limits, hash_of(key));
    if (!slot)
        return;
    int64_t old = atomic_load_explicit(&slot->latency_us, memory_order_relaxed);
    atomic_store_explicit(&slot->latency_us, old ? old + (us - old) / 5 : us, memory_order_relaxed);
}

int64_t limits_latency_us(const struct limits *limits, struct slice key)
{
    const struct slot *slot = find(limits, hash_of(key));
    return slot ? atomic_load_explicit(&slot->latency_us, memory_order_relaxed) : 0;
}

struct shared *limits_shared(const struct limits *limits)
{
    return limits->shared;
}
