/* shared.c -- buckets of entries in shared memory, a robust lock for each group of buckets.
 *
 *   hash(key) -> bucket of WAYS entries -> the one with that key
 *
 *   entry: current -> copies[0] { type, end, value }     a write fills the other copy and
 *                     copies[1] { ...             }      then turns current, in one store
 *
 * A writer that dies in between leaves current where it was. */
/* SPDX-License-Identifier: MIT */
#include "shared.h"
#include "shm.h"
#include <pthread.h>
#include <stdatomic.h>

enum { WAYS = 8, BUCKETS = SHARED_ENTRIES / WAYS, LOCKS = 64 };

struct copy {
    int64_t until_us; /* 0: no end */
    int64_t written_us;
    struct shared_value value; /* SHARED_NOTHING: the entry is free */
};

struct entry {
    uint64_t hash;
    size_t key_len;
    char key[SHARED_KEY_MAX];
    _Atomic unsigned current;
    struct copy copies[2];
};

struct shared {
    pthread_mutex_t locks[LOCKS];
    struct entry entries[SHARED_ENTRIES];
};

static pthread_mutex_t *lock(struct shared *shared, uint64_t hash);

struct shared *shared_new(void)
{
    struct shared *shared = shm_new(sizeof *shared);

    shm_locks_init(shared->locks, LOCKS);
    return shared;
}

/* A bucket at a time, so that nobody waits for long. */
void shared_copy(struct shared *shared, struct shared *from)
{
    for (size_t i = 0; i < BUCKETS; i++) {
        pthread_mutex_t *mutex = lock(from, i);
        memcpy(&shared->entries[i * WAYS], &from->entries[i * WAYS], WAYS * sizeof(struct entry));
        pthread_mutex_unlock(mutex);
    }
}

void shared_free(struct shared *shared)
{
    shm_free(shared, sizeof *shared);
}

/* ---- finding ---- */

static pthread_mutex_t *lock(struct shared *shared, uint64_t hash)
{
    pthread_mutex_t *mutex = &shared->locks[hash % BUCKETS % LOCKS];

    shm_lock(mutex); /* had its owner died, no entry could be torn */
    return mutex;
}

static struct copy *current_of(struct entry *entry)
{
    return &entry->copies[atomic_load_explicit(&entry->current, memory_order_acquire)];
}

static bool is_free(struct entry *entry, int64_t now_us)
{
    const struct copy *copy = current_of(entry);
    return copy->value.type == SHARED_NOTHING || (copy->until_us && copy->until_us <= now_us);
}

static struct entry *bucket_of(struct shared *shared, uint64_t hash)
{
    return &shared->entries[hash % BUCKETS * WAYS];
}

static struct entry *find(struct shared *shared, struct slice key, uint64_t hash, int64_t now_us)
{
    struct entry *bucket = bucket_of(shared, hash);

    for (int i = 0; i < WAYS; i++) {
        struct entry *entry = &bucket[i];
        if (entry->hash == hash && !is_free(entry, now_us) &&
            slice_equal((struct slice){entry->key, entry->key_len}, key))
            return entry;
    }
    return NULL;
}

/* Which of two entries gives way first. */
static bool goes_before(struct entry *a, struct entry *b)
{
    const struct copy *first = current_of(a), *second = current_of(b);

    if ((first->until_us != 0) != (second->until_us != 0))
        return first->until_us != 0;
    if (first->until_us != second->until_us)
        return first->until_us < second->until_us;
    return first->written_us < second->written_us;
}

static struct entry *claim(struct shared *shared, struct slice key, uint64_t hash, int64_t now_us)
{
    struct entry *bucket = bucket_of(shared, hash), *chosen = &bucket[0];

    for (int i = 0; i < WAYS && !is_free(chosen, now_us); i++)
        if (is_free(&bucket[i], now_us) || goes_before(&bucket[i], chosen))
            chosen = &bucket[i];
    current_of(chosen)->value.type = SHARED_NOTHING; /* before its key changes under it */
    chosen->hash = hash;
    chosen->key_len = key.len;
    memcpy(chosen->key, key.ptr, key.len);
    return chosen;
}

/* ---- writing ---- */

static void put(struct entry *entry, const struct shared_value *value, int64_t until_us,
                int64_t now_us)
{
    unsigned next = !atomic_load_explicit(&entry->current, memory_order_relaxed);
    struct copy *copy = &entry->copies[next];

    copy->until_us = until_us;
    copy->written_us = now_us;
    copy->value.type = value->type;
    copy->value.number = value->number;
    copy->value.len = value->len;
    memcpy(copy->value.text, value->text, value->len);
    atomic_store_explicit(&entry->current, next, memory_order_release);
}

void shared_get(struct shared *shared, struct slice key, int64_t now_us, struct shared_value *out)
{
    uint64_t hash = slice_hash(key);
    pthread_mutex_t *mutex = lock(shared, hash);
    struct entry *entry = find(shared, key, hash, now_us);

    out->type = SHARED_NOTHING;
    if (entry) {
        const struct shared_value *value = &current_of(entry)->value;
        out->type = value->type;
        out->number = value->number;
        out->len = value->len;
        memcpy(out->text, value->text, value->len);
    }
    pthread_mutex_unlock(mutex);
}

enum err shared_set(struct shared *shared, struct slice key, const struct shared_value *value,
                    int64_t until_us, int64_t now_us)
{
    uint64_t hash = slice_hash(key);

    if (key.len > SHARED_KEY_MAX)
        return ERR_TOO_LARGE;
    pthread_mutex_t *mutex = lock(shared, hash);
    struct entry *entry = find(shared, key, hash, now_us);
    put(entry ? entry : claim(shared, key, hash, now_us), value, until_us, now_us);
    pthread_mutex_unlock(mutex);
    return ERR_OK;
}

enum err shared_add(struct shared *shared, struct slice key, double by, int64_t until_us,
                    int64_t now_us, double *out)
{
    uint64_t hash = slice_hash(key);
    struct shared_value sum = {.type = SHARED_NUMBER, .number = by};
    enum err err = ERR_OK;

    if (key.len > SHARED_KEY_MAX)
        return ERR_TOO_LARGE;
    pthread_mutex_t *mutex = lock(shared, hash);
    struct entry *entry = find(shared, key, hash, now_us);
    if (entry && current_of(entry)->value.type != SHARED_NUMBER) {
        err = ERR_TYPE;
    } else if (entry) {
        sum.number += current_of(entry)->value.number;
        put(entry, &sum, current_of(entry)->until_us, now_us);
    } else {
        put(claim(shared, key, hash, now_us), &sum, until_us, now_us);
    }
    pthread_mutex_unlock(mutex);
    *out = sum.number;
    return err;
}

void shared_delete(struct shared *shared, struct slice key)
{
    uint64_t hash = slice_hash(key);
    pthread_mutex_t *mutex = lock(shared, hash);
    struct entry *entry = find(shared, key, hash, INT64_MIN);

    if (entry)
        current_of(entry)->value.type = SHARED_NOTHING;
    pthread_mutex_unlock(mutex);
}
