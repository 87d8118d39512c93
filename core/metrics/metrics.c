/* metrics.c -- open addressing over places that are taken once and never given back.
 *
 *   FREE -> TAKEN   [compare and swap]  its series is being written
 *   TAKEN -> READY  [release]           may be read
 *
 * Who finds a TAKEN one passes on: its owner may be dead.  So a series may, once in a long
 * while, have two places; they are summed when it is written out. */
/* SPDX-License-Identifier: MIT */
#include "metrics.h"
#include "family.h"
#include "leaves/mem.h"
#include "leaves/shm.h"
#include "parsers/json.h"
#include "series.h"
#include "tally.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    CELLS = 16,     /* processes share one when there are more */
    PROBES = 64,    /* places that a series may have */
    LABEL_MAX = 64, /* bytes of a label's value */
};

enum { FREE, TAKEN, READY };

struct place {
    _Atomic int state;
    uint32_t hash;
    size_t len;
    char series[METRICS_SERIES_MAX];
    _Atomic double cells[CELLS];
};

struct metrics {
    struct tallies *tallies; /* mapped before any fork, at the same place in all */
    _Atomic uint64_t dropped;
    struct place places[METRICS_SERIES];
};

struct metrics *metrics_new(void)
{
    struct metrics *metrics = shm_new(sizeof *metrics);

    metrics->tallies = tallies_new();
    return metrics;
}

struct tallies *metrics_tallies(const struct metrics *metrics)
{
    return metrics->tallies;
}

void metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    tallies_free(metrics->tallies);
    shm_free(metrics, sizeof *metrics);
}

/* ---- adding ---- */

static bool is_place_of(const struct place *place, uint32_t hash, struct slice series)
{
    return place->hash == hash && slice_equal((struct slice){place->series, place->len}, series);
}

static bool take(struct place *place, uint32_t hash, struct slice series)
{
    int state = FREE;

    if (!atomic_compare_exchange_strong(&place->state, &state, TAKEN))
        return state == READY && is_place_of(place, hash, series);
    place->hash = hash;
    place->len = series.len;
    memcpy(place->series, series.ptr, series.len);
    atomic_store_explicit(&place->state, READY, memory_order_release);
    return true;
}

static struct place *find(struct metrics *metrics, struct slice series)
{
    uint64_t hash = slice_hash(series);

    if (series.len > METRICS_SERIES_MAX)
        return NULL;
    for (size_t i = 0; i < PROBES; i++) {
        struct place *place = &metrics->places[(hash + i) % METRICS_SERIES];
        if (take(place, (uint32_t)(hash >> 32), series))
            return place;
    }
    return NULL;
}

void metrics_add(struct metrics *metrics, struct slice series, double by)
{
    struct place *place = find(metrics, series);

    if (!place) {
        atomic_fetch_add(&metrics->dropped, 1);
        return;
    }
    _Atomic double *cell = &place->cells[(unsigned)getpid() % CELLS];
    double old = atomic_load_explicit(cell, memory_order_relaxed);
    while (!atomic_compare_exchange_weak(cell, &old, old + by))
        ;
}

/* ---- labels ---- */

/* The value as UTF-8 of one line: a string's own way there and back mends it. */
static void mend(struct buf *out, struct slice value)
{
    struct buf plain = {0}, quoted = {0};

    buf_add(&plain, value);
    for (size_t i = 0; i < plain.len; i++)
        if ((unsigned char)plain.ptr[i] < ' ' || plain.ptr[i] == 0x7f)
            plain.ptr[i] = ' ';
    json_quote(&quoted, buf_slice(&plain));
    if (json_unescape((struct slice){quoted.ptr + 1, quoted.len - 2}, out))
        buf_add_char(out, '?');
    buf_free(&plain);
    buf_free(&quoted);
}

void metrics_add_label(struct buf *series, struct slice label, struct slice value)
{
    struct buf text = {0};

    if (value.len > LABEL_MAX)
        value.len = LABEL_MAX;
    mend(&text, value);
    bool is_first = !series->len || !memchr(series->ptr, '{', series->len);
    buf_add_char(series, is_first ? '{' : ',');
    buf_add(series, label);
    buf_add_text(series, "=\"");
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"' || text.ptr[i] == '\\')
            buf_add_char(series, '\\');
        buf_add_char(series, text.ptr[i]);
    }
    buf_add_char(series, '"');
    buf_free(&text);
}

/* ---- writing ---- */

static struct slice series_of(const struct place *place)
{
    return (struct slice){place->series, place->len};
}

static int compare_places(const void *one, const void *other)
{
    return series_compare(series_of(*(struct place *const *)one),
                          series_of(*(struct place *const *)other));
}

static double sum_of(struct place *place)
{
    double sum = 0;

    for (int i = 0; i < CELLS; i++)
        sum += atomic_load_explicit(&place->cells[i], memory_order_relaxed);
    return sum;
}

static void write_places(struct place *const *places, size_t count, struct buf *out)
{
    struct slice name = {0};

    for (size_t i = 0; i < count; i++) {
        struct slice series = series_of(places[i]), own = series_name(series);
        double sum = sum_of(places[i]);
        while (i + 1 < count && slice_equal(series_of(places[i + 1]), series))
            sum += sum_of(places[++i]);
        if (!name.ptr || !slice_equal(own, name))
            family_write(out, own, "counter");
        name = own;
        buf_add(out, series);
        buf_add_format(out, " %.15g\n", sum);
    }
}

void metrics_write(struct metrics *metrics, struct buf *out)
{
    struct place **places = mem_resize(NULL, METRICS_SERIES * sizeof *places);
    size_t count = 0;

    for (size_t i = 0; i < METRICS_SERIES; i++)
        if (atomic_load_explicit(&metrics->places[i].state, memory_order_acquire) == READY)
            places[count++] = &metrics->places[i];
    qsort(places, count, sizeof *places, compare_places);
    write_places(places, count, out);
    mem_free(places);
    family_write(out, SLICE("weir_metrics_dropped_total"), "counter");
    buf_add_format(out, "weir_metrics_dropped_total %llu\n",
                   (unsigned long long)atomic_load(&metrics->dropped));
}
