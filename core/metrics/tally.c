/* tally.c -- places in shared memory, taken as metrics.c takes its own.
 *
 * A place is FREE, then TAKEN while its series is written, then READY for good.  Who finds a TAKEN
 * one passes on: its owner may be dead.  So a series may, once in a long while, have two places;
 * they are summed when it is written out. */
/* SPDX-License-Identifier: MIT */
#include "tally.h"
#include "family.h"
#include "leaves/mem.h"
#include "leaves/shm.h"
#include "series.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { PROBES = 128 };

enum { FREE, TAKEN, READY };

struct tally {
    _Atomic int state;
    enum tally_kind kind;
    size_t len;
    char series[TALLY_NAME_MAX];
    _Atomic uint64_t buckets[TALLY_BUCKETS]; /* a counter is the first */
    _Atomic int64_t sum;
};

struct beat {
    _Atomic int64_t in_flight, waiting, connections, shadows;
};

struct tallies {
    _Atomic uint64_t dropped;
    struct beat beats[TALLY_WORKERS];
    struct tally spare; /* for what found no place */
    struct tally places[TALLY_SERIES];
};

#define SECOND 1000000

/* Upper bounds; the last bucket has none. */
static const struct bounds {
    int count;
    double unit; /* of what is written */
    int64_t at[TALLY_BUCKETS - 1];
} bounds[] = {
    [TALLY_COUNT] = {0, 1, {0}},
    [TALLY_MONEY] = {0, 1000000, {0}},
    [TALLY_DURATION] = {14,
                        SECOND,
                        {10000, 20000, 40000, 80000, 160000, 320000, 640000, 1280000, 2560000,
                         5120000, 10240000, 20480000, 40960000, 81920000}},
    [TALLY_FIRST] = {16,
                     SECOND,
                     {1000, 5000, 10000, 20000, 40000, 60000, 80000, 100000, 250000, 500000, 750000,
                      1000000, 2500000, 5000000, 7500000, 10000000}},
    [TALLY_BETWEEN] = {16,
                       SECOND,
                       {1000, 2500, 5000, 10000, 25000, 50000, 75000, 100000, 150000, 200000,
                        300000, 400000, 500000, 750000, 1000000, 2500000}},
    [TALLY_TOKENS] = {14,
                      1,
                      {1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304,
                       16777216, 67108864}},
};

struct tallies *tallies_new(void)
{
    return shm_new(sizeof(struct tallies));
}

void tallies_free(struct tallies *tallies)
{
    shm_free(tallies, sizeof *tallies);
}

/* ---- series ---- */

static struct slice series_of(const struct tally *tally)
{
    return (struct slice){tally->series, tally->len};
}

static bool take(struct tally *place, enum tally_kind kind, struct slice series)
{
    int state = FREE;

    if (!atomic_compare_exchange_strong(&place->state, &state, TAKEN))
        return state == READY && slice_equal(series_of(place), series);
    place->kind = kind;
    place->len = series.len;
    memcpy(place->series, series.ptr, series.len);
    atomic_store_explicit(&place->state, READY, memory_order_release);
    return true;
}

struct tally *tally_of(struct tallies *tallies, enum tally_kind kind, struct slice series)
{
    uint64_t hash = slice_hash(series);

    for (size_t i = 0; i < PROBES && series.len <= TALLY_NAME_MAX; i++) {
        struct tally *place = &tallies->places[(hash + i) % TALLY_SERIES];
        if (take(place, kind, series))
            return place;
    }
    atomic_fetch_add(&tallies->dropped, 1);
    return &tallies->spare;
}

/* ---- adding ---- */

static int bucket_of(enum tally_kind kind, int64_t value)
{
    const struct bounds *of = &bounds[kind];
    int i = 0;

    while (i < of->count && value > of->at[i])
        i++;
    return i;
}

void tally_count(struct tally *tally, uint64_t count)
{
    atomic_fetch_add_explicit(&tally->buckets[0], count, memory_order_relaxed);
}

void tally_observe(struct tally *tally, int64_t value)
{
    int bucket = bucket_of(tally->kind, value);

    atomic_fetch_add_explicit(&tally->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&tally->sum, value, memory_order_relaxed);
}

void tally_batch_add(struct tally_batch *batch, int64_t between_us)
{
    batch->buckets[bucket_of(TALLY_BETWEEN, between_us)]++;
    batch->sum += between_us;
}

void tally_take_batch(struct tally *tally, const struct tally_batch *batch)
{
    for (int i = 0; i < TALLY_BUCKETS; i++)
        if (batch->buckets[i])
            atomic_fetch_add_explicit(&tally->buckets[i], batch->buckets[i], memory_order_relaxed);
    atomic_fetch_add_explicit(&tally->sum, batch->sum, memory_order_relaxed);
}

/* ---- what workers are at ---- */

void tallies_beat(struct tallies *tallies, int worker, const struct tally_pulse *pulse)
{
    struct beat *beat = &tallies->beats[worker % TALLY_WORKERS];

    atomic_store_explicit(&beat->in_flight, pulse->in_flight, memory_order_relaxed);
    atomic_store_explicit(&beat->waiting, pulse->waiting, memory_order_relaxed);
    atomic_store_explicit(&beat->connections, pulse->connections, memory_order_relaxed);
    atomic_store_explicit(&beat->shadows, pulse->shadows, memory_order_relaxed);
}

struct tally_pulse tallies_pulse(const struct tallies *tallies, int worker)
{
    const struct beat *beat = &tallies->beats[worker % TALLY_WORKERS];

    return (struct tally_pulse){.in_flight = atomic_load(&beat->in_flight),
                                .waiting = atomic_load(&beat->waiting),
                                .connections = atomic_load(&beat->connections),
                                .shadows = atomic_load(&beat->shadows)};
}

/* ---- writing ---- */

static int compare_places(const void *one, const void *other)
{
    return series_compare(series_of(*(struct tally *const *)one),
                          series_of(*(struct tally *const *)other));
}

/* name_bucket{labels,le="0.5"}: what stands before the value. */
static void add_name(struct buf *out, struct slice series, const char *suffix, const char *le)
{
    struct slice name = series_name(series);
    struct slice labels = {name.ptr + name.len, series.len - name.len};

    buf_add(out, name);
    buf_add_text(out, suffix);
    if (!le) {
        buf_add(out, labels);
        return;
    }
    if (labels.len)
        labels.len--; /* without the closing brace */
    buf_add(out, labels);
    buf_add_format(out, "%sle=\"%s\"}", labels.len ? "," : "{", le);
}

static bool is_counter(const struct tally *tally)
{
    return bounds[tally->kind].count == 0;
}

static void write_histogram(const struct tally *sum, struct buf *out)
{
    const struct bounds *of = &bounds[sum->kind];
    struct slice series = series_of(sum);
    unsigned long long total = 0;
    char le[24];

    for (int i = 0; i <= of->count; i++) {
        total += atomic_load(&sum->buckets[i]);
        snprintf(le, sizeof le, "%.10g", i < of->count ? (double)of->at[i] / of->unit : 0);
        add_name(out, series, "_bucket", i < of->count ? le : "+Inf");
        buf_add_format(out, " %llu\n", total);
    }
    add_name(out, series, "_sum", NULL);
    buf_add_format(out, " %.15g\n", (double)atomic_load(&sum->sum) / of->unit);
    add_name(out, series, "_count", NULL);
    buf_add_format(out, " %llu\n", total);
}

static void add_up(struct tally *sum, struct tally *place)
{
    for (int i = 0; i < TALLY_BUCKETS; i++)
        atomic_fetch_add(&sum->buckets[i], atomic_load(&place->buckets[i]));
    atomic_fetch_add(&sum->sum, atomic_load(&place->sum));
}

static void write_one(const struct tally *sum, struct buf *out)
{
    if (!is_counter(sum)) {
        write_histogram(sum, out);
        return;
    }
    buf_add(out, series_of(sum));
    buf_add_format(out, " %.15g\n", (double)atomic_load(&sum->buckets[0]) / bounds[sum->kind].unit);
}

static void write_places(struct tally **places, size_t count, struct buf *out)
{
    struct slice name = {0};

    for (size_t i = 0; i < count; i++) {
        struct slice series = series_of(places[i]), own = series_name(series);
        struct tally sum = {.kind = places[i]->kind, .len = series.len};
        memcpy(sum.series, series.ptr, series.len);
        add_up(&sum, places[i]);
        while (i + 1 < count && slice_equal(series_of(places[i + 1]), series))
            add_up(&sum, places[++i]);
        if (!name.ptr || !slice_equal(own, name))
            family_write(out, own, is_counter(&sum) ? "counter" : "histogram");
        name = own;
        write_one(&sum, out);
    }
}

void tallies_write(struct tallies *tallies, struct buf *out)
{
    struct tally **places = mem_resize(NULL, TALLY_SERIES * sizeof *places);
    size_t count = 0;

    for (size_t i = 0; i < TALLY_SERIES; i++)
        if (atomic_load_explicit(&tallies->places[i].state, memory_order_acquire) == READY)
            places[count++] = &tallies->places[i];
    qsort(places, count, sizeof *places, compare_places);
    write_places(places, count, out);
    mem_free(places);
    family_write(out, SLICE("weir_series_dropped_total"), "counter");
    buf_add_format(out, "weir_series_dropped_total %llu\n",
                   (unsigned long long)atomic_load(&tallies->dropped));
}
