/* lane.h -- what all workers know of one way to a model: a provider, one of its keys, a model.
 *
 * Three kinds, by what is 0 or empty: (provider, 0, model) is a target by any
 * key, (provider, key, "") a key for any model, (provider, key, model) both.
 * They stand in a table in memory that the master maps before it forks.  A
 * bucket of lanes has one robust lock for those who write; who reads takes none.
 * A writer killed at any instant leaves each number of it whole: the next to
 * lock mends the sums.  It knows nothing of why a lane is closed. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "quota.h"

enum {
    LANE_WORKERS = 64,
    LANE_REASON = 24,
    LANE_NAME = 200, /* bytes that are kept of "provider/model" */
    LANE_WAYS = 32,
    LANE_BUCKETS = 128,
};

enum lane_window { WINDOW_RPM, WINDOW_RPD, WINDOW_TPM, WINDOW_TPD, WINDOW_COUNT };

struct lane_load { /* what one worker has on its way; of a dead one it is forgotten */
    int32_t inflight;
    int32_t unheard; /* of these, sent and not yet answered */
    int64_t unheard_tokens;
};

struct lane {
    char name[LANE_NAME]; /* "provider/model", or "provider" */
    int32_t name_len, provider_len;
    int32_t key;

    _Atomic int64_t until_us;   /* 0: open; to come: cooling; past: half open */
    _Atomic int32_t probes;     /* whether it is half open afterwards, or open at once */
    _Atomic int32_t prober;     /* the worker, plus 1, that has the one probe; 0: none */
    _Atomic int32_t faults;     /* stalls and cuts in a row */
    _Atomic int64_t taken;      /* attempts ever */
    _Atomic int64_t latency_us; /* to the commit point, recently; 0: unknown */
    _Atomic int64_t tokens;     /* of one request, recently; 0: unknown */
    char reason[LANE_REASON];   /* a torn read shows a wrong word, nothing worse */
    char dimension[8];          /* of the limit that was spent; empty: none is known */

    _Atomic int32_t inflight, unheard; /* sums of loads */
    _Atomic int64_t unheard_tokens;
    _Atomic uint32_t told;      /* bits of quotas that know something */
    _Atomic int32_t concurrent; /* at once, as configured last; 0: any number */
    struct quota quotas[QUOTA_COUNT];
    struct window windows[WINDOW_COUNT];
    struct lane_load loads[LANE_WORKERS];
};

struct lanes;

struct lanes *lanes_new(void); /* in memory that children share; aborts when there is none */
void lanes_free(struct lanes *lanes);

/* Makes into, which is new, what from is now. */
void lanes_copy(struct lanes *into, struct lanes *from);

/* Hashes are made once and put together. */
uint64_t lane_hash(uint64_t provider_hash, int key, uint64_t model_hash);

/* Reads only; what it holds may change meanwhile.  NULL when there is none. */
struct lane *lanes_find(struct lanes *lanes, uint64_t hash);

/* The lane of that hash, made where there is none, with its bucket locked for lanes_unlock.  One
 * that nothing is known of any more gives way when there is no room; NULL (and no lock) when all
 * in its bucket are needed.  model may be empty. */
struct lane *lanes_lock(struct lanes *lanes, uint64_t hash, struct slice provider, int key,
                        struct slice model, int64_t now_us);
/* Locks the bucket of a lane that the caller knows to stay. */
void lanes_relock(struct lanes *lanes, struct lane *lane);
void lanes_unlock(struct lanes *lanes, struct lane *lane);

/* Calls visit for each lane, its bucket locked. */
void lanes_each(struct lanes *lanes, void (*visit)(void *arg, struct lane *lane), void *arg);

/* How often something changed that a restart is to know; and one more change. */
uint64_t lanes_changes(const struct lanes *lanes);
void lanes_note_change(struct lanes *lanes);

/* The window's dimension. */
enum quota_dimension lane_dimension(enum lane_window window);
