/* keys.c -- places by digest, accounts by number; each account under a counter of its own.
 *
 *   digest -> places[hash ...] -> number -> accounts[number]
 *
 * A place is taken once: its digest is written, then its number, and neither changes.  Of an
 * account the counter is odd while it is written; a reader that saw it change reads again.  A
 * writer that dies leaves it odd: readers then find nobody until the next clerk has written it. */
/* SPDX-License-Identifier: MIT */
#include "keys.h"
#include "leaves/shm.h"
#include <sched.h>
#include <stdatomic.h>

enum { PLACES = 4 * KEYS_MAX, TRIES = 1000, SPINS = 100 };

struct place {
    _Atomic int32_t number; /* 0: free */
    _Atomic int64_t until_s;
    unsigned char digest[SHA256_BYTES];
};

struct entry {
    _Atomic uint32_t writes;
    struct keys_account account;
};

struct keys {
    struct place places[PLACES];
    struct entry entries[KEYS_MAX];
};

struct keys *keys_new(void)
{
    return shm_new_sparse(sizeof(struct keys));
}

void keys_free(struct keys *keys)
{
    shm_free(keys, sizeof *keys);
}

/* ---- finding ---- */

/* The digest is as good as random. */
static size_t place_of(const unsigned char *digest)
{
    uint64_t hash;

    memcpy(&hash, digest, sizeof hash);
    return hash % PLACES;
}

/* The digest's place, or the free one where it would stand; NULL: all are taken. */
static struct place *find(struct keys *keys, const unsigned char *digest)
{
    size_t first = place_of(digest);

    for (size_t i = 0; i < PLACES; i++) {
        struct place *place = &keys->places[(first + i) % PLACES];
        if (!atomic_load_explicit(&place->number, memory_order_acquire) ||
            sha256_equal(place->digest, digest))
            return place;
    }
    return NULL;
}

static bool copy(struct keys *keys, int32_t number, struct keys_account *account, size_t size)
{
    if (number < 0 || number >= KEYS_MAX)
        return false;
    struct entry *entry = &keys->entries[number];
    for (int i = 0; i < TRIES; i++) {
        uint32_t before = atomic_load_explicit(&entry->writes, memory_order_acquire);
        memcpy(account, &entry->account, size);
        atomic_thread_fence(memory_order_acquire);
        if (before % 2 == 0 && before == atomic_load_explicit(&entry->writes, memory_order_relaxed))
            return account->number == number && number > 0;
        if (i > SPINS)
            sched_yield(); /* its writer may wait for this processor */
    }
    return false;
}

bool keys_get(struct keys *keys, int32_t number, struct keys_account *account)
{
    return copy(keys, number, account, sizeof *account);
}

bool keys_look(struct keys *keys, int32_t number, struct keys_account *account)
{
    return copy(keys, number, account, offsetof(struct keys_account, name));
}

/* An unknown key is looked at as number 0, which nobody has. */
bool keys_find(struct keys *keys, const unsigned char *digest, int64_t now_s,
               struct keys_account *account)
{
    struct place *place = find(keys, digest);
    int32_t number = place ? atomic_load(&place->number) : 0;
    int64_t until_s = place ? atomic_load(&place->until_s) : 0;
    bool is_known = keys_get(keys, number, account);
    bool is_over = (until_s != 0) & (until_s <= now_s);

    return is_known & !is_over & keys_is_open(account, now_s);
}

bool keys_is_open(const struct keys_account *account, int64_t now_s)
{
    bool is_expired = (account->expires_s != 0) & (account->expires_s <= now_s);

    return !is_expired & !account->is_revoked;
}

bool keys_allow(const struct keys_account *account, struct slice model)
{
    const char *at = account->models;

    if (!at[0])
        return true;
    for (const char *end; (end = strchr(at, ',')); at = end + 1)
        if (slice_equal((struct slice){at, (size_t)(end - at)}, model))
            return true;
    return false;
}

/* ---- writing ---- */

bool keys_put(struct keys *keys, const struct keys_account *account)
{
    if (account->number <= 0 || account->number >= KEYS_MAX)
        return false;
    struct entry *entry = &keys->entries[account->number];
    uint32_t writes = atomic_load(&entry->writes) | 1;
    atomic_store_explicit(&entry->writes, writes, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    entry->account = *account;
    atomic_store_explicit(&entry->writes, writes + 1, memory_order_release);
    return true;
}

bool keys_put_digest(struct keys *keys, const unsigned char *digest, int32_t number,
                     int64_t until_s)
{
    struct place *place = find(keys, digest);

    if (!place)
        return false;
    atomic_store(&place->until_s, until_s);
    if (atomic_load(&place->number))
        return true;
    memcpy(place->digest, digest, SHA256_BYTES);
    atomic_store_explicit(&place->number, number, memory_order_release);
    return true;
}
