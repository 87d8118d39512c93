/* lane.c -- buckets of lanes in shared memory.
 *
 *   hash -> bucket: lock, hashes[WAYS], lanes[WAYS]
 *
 * A reader walks the hashes, which stand side by side, and then looks at one lane.  Ways fill from
 * the first on and are never emptied, so a 0 ends the walk.  While a way changes hands its hash is
 * CHANGING: nobody finds it, and if its writer dies the next takes it. */
/* SPDX-License-Identifier: MIT */
#include "lane.h"
#include "leaves/shm.h"
#include <pthread.h>

enum { CHANGING = 1 };

struct lanes { /* like beside like: at rest only the locks' two pages are in memory */
    _Atomic uint64_t changes;
    pthread_mutex_t locks[LANE_BUCKETS];
    _Atomic uint64_t hashes[LANE_BUCKETS][LANE_WAYS];
    struct lane lanes[LANE_BUCKETS][LANE_WAYS];
};

struct bucket { /* where the parts of one are */
    pthread_mutex_t *lock;
    _Atomic uint64_t *hashes;
    struct lane *lanes;
};

struct lanes *lanes_new(void)
{
    struct lanes *lanes = shm_new(sizeof *lanes);

    shm_locks_init(lanes->locks, LANE_BUCKETS);
    return lanes;
}

void lanes_free(struct lanes *lanes)
{
    shm_free(lanes, sizeof *lanes);
}

uint64_t lane_hash(uint64_t provider_hash, int key, uint64_t model_hash)
{
    uint64_t hash = provider_hash + (uint64_t)key * 0x9e3779b97f4a7c15u;

    hash = (hash ^ (hash >> 32)) * 0xd6e8feb86659fd93u;
    hash += model_hash;
    hash = (hash ^ (hash >> 32)) * 0xd6e8feb86659fd93u;
    hash ^= hash >> 32;
    return hash > CHANGING ? hash : hash + 2;
}

enum quota_dimension lane_dimension(enum lane_window window)
{
    static const enum quota_dimension dimensions[WINDOW_COUNT] = {
        [WINDOW_RPM] = QUOTA_RPM,
        [WINDOW_RPD] = QUOTA_RPD,
        [WINDOW_TPM] = QUOTA_TPM,
        [WINDOW_TPD] = QUOTA_TPD,
    };
    return dimensions[window];
}

uint64_t lanes_changes(const struct lanes *lanes)
{
    return atomic_load_explicit(&lanes->changes, memory_order_relaxed);
}

void lanes_note_change(struct lanes *lanes)
{
    atomic_fetch_add_explicit(&lanes->changes, 1, memory_order_relaxed);
}

/* ---- finding ---- */

static struct bucket bucket_at(struct lanes *lanes, size_t i)
{
    return (struct bucket){&lanes->locks[i], lanes->hashes[i], lanes->lanes[i]};
}

static struct bucket bucket_of(struct lanes *lanes, uint64_t hash)
{
    return bucket_at(lanes, hash % LANE_BUCKETS);
}

static struct lane *find(struct bucket bucket, uint64_t hash)
{
    for (int i = 0; i < LANE_WAYS; i++) {
        uint64_t found = atomic_load_explicit(&bucket.hashes[i], memory_order_acquire);
        if (found == hash)
            return bucket.lanes + i;
        if (found == 0)
            return NULL;
    }
    return NULL;
}

struct lane *lanes_find(struct lanes *lanes, uint64_t hash)
{
    return find(bucket_of(lanes, hash), hash);
}

/* ---- locking ---- */

static void mend_lane(struct lane *lane)
{
    int32_t inflight = 0, unheard = 0;
    int64_t tokens = 0;

    for (int i = 0; i < LANE_WORKERS; i++) {
        inflight += lane->loads[i].inflight;
        unheard += lane->loads[i].unheard;
        tokens += lane->loads[i].unheard_tokens;
    }
    atomic_store(&lane->inflight, inflight);
    atomic_store(&lane->unheard, unheard);
    atomic_store(&lane->unheard_tokens, tokens);
    for (int i = 0; i < WINDOW_COUNT; i++)
        window_mend(&lane->windows[i]);
}

static void lock(struct bucket bucket)
{
    if (!shm_lock(bucket.lock))
        return;
    for (int i = 0; i < LANE_WAYS && atomic_load(&bucket.hashes[i]); i++)
        mend_lane(&bucket.lanes[i]);
}

static struct bucket bucket_around(struct lanes *lanes, const struct lane *lane)
{
    return bucket_at(lanes, (size_t)(lane - lanes->lanes[0]) / LANE_WAYS);
}

void lanes_relock(struct lanes *lanes, struct lane *lane)
{
    lock(bucket_around(lanes, lane));
}

void lanes_unlock(struct lanes *lanes, struct lane *lane)
{
    pthread_mutex_unlock(bucket_around(lanes, lane).lock);
}

/* ---- making ---- */

static void make(struct lane *lane, struct slice provider, int key, struct slice model)
{
    size_t room = LANE_NAME;

    memset(lane, 0, sizeof *lane);
    for (int i = 0; i < QUOTA_COUNT; i++)
        quota_clear(&lane->quotas[i]);
    if (provider.len > room)
        provider.len = room;
    memcpy(lane->name, provider.ptr, provider.len);
    lane->name_len = lane->provider_len = (int32_t)provider.len;
    lane->key = key;
    if (model.len == 0 || provider.len + 1 >= room)
        return;
    if (model.len > room - provider.len - 1)
        model.len = room - provider.len - 1;
    lane->name[provider.len] = '/';
    memcpy(lane->name + provider.len + 1, model.ptr, model.len);
    lane->name_len = (int32_t)(provider.len + 1 + model.len);
}

/* Whether nothing would be lost with it. */
static bool is_idle(struct lane *lane, int64_t now_us)
{
    uint32_t told = atomic_load(&lane->told);

    if (atomic_load(&lane->until_us) > now_us || atomic_load(&lane->inflight))
        return false;
    for (int i = 0; told; i++, told >>= 1)
        if ((told & 1) && atomic_load(&lane->quotas[i].reset_us) > now_us &&
            quota_left(&lane->quotas[i], now_us) == 0)
            return false;
    for (int i = 0; i < WINDOW_COUNT; i++)
        if (atomic_load(&lane->windows[i].used))
            return false;
    return true;
}

struct lane *lanes_lock(struct lanes *lanes, uint64_t hash, struct slice provider, int key,
                        struct slice model, int64_t now_us)
{
    struct bucket bucket = bucket_of(lanes, hash);
    int free = -1;

    lock(bucket);
    for (int i = 0; i < LANE_WAYS; i++) {
        uint64_t found = atomic_load_explicit(&bucket.hashes[i], memory_order_relaxed);
        if (found == hash)
            return bucket.lanes + i;
        if (free < 0 && (found <= CHANGING || is_idle(&bucket.lanes[i], now_us)))
            free = i;
        if (found == 0) {
            free = i; /* there is room: nobody gives way */
            break;
        }
    }
    if (free < 0) {
        pthread_mutex_unlock(bucket.lock);
        return NULL;
    }
    atomic_store(&bucket.hashes[free], CHANGING);
    make(&bucket.lanes[free], provider, key, model);
    atomic_store_explicit(&bucket.hashes[free], hash, memory_order_release);
    return bucket.lanes + free;
}

void lanes_copy(struct lanes *into, struct lanes *from)
{
    for (size_t b = 0; b < LANE_BUCKETS; b++) {
        struct bucket source = bucket_at(from, b), bucket = bucket_at(into, b);
        if (atomic_load(&source.hashes[0]) == 0)
            continue;
        lock(source);
        for (int i = 0; i < LANE_WAYS && atomic_load(&source.hashes[i]); i++) {
            memcpy(&bucket.lanes[i], &source.lanes[i], sizeof bucket.lanes[i]);
            atomic_store(&bucket.hashes[i], atomic_load(&source.hashes[i]));
        }
        pthread_mutex_unlock(source.lock);
    }
}

void lanes_each(struct lanes *lanes, void (*visit)(void *arg, struct lane *lane), void *arg)
{
    for (size_t b = 0; b < LANE_BUCKETS; b++) {
        struct bucket bucket = bucket_at(lanes, b);
        if (atomic_load(&bucket.hashes[0]) == 0)
            continue;
        lock(bucket);
        for (int i = 0; i < LANE_WAYS && atomic_load(&bucket.hashes[i]); i++)
            if (atomic_load(&bucket.hashes[i]) != CHANGING)
                visit(arg, &bucket.lanes[i]);
        pthread_mutex_unlock(bucket.lock);
    }
}
