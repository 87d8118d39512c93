/* sources.c -- reads files, or a snapshot of them.
 *
 * A snapshot is one record after the other, each a header, the path with its
 * NUL, and the bytes (of a file that could not be read: why not).  It is
 * written and read by the same binary, so numbers are in this machine's order. */
/* SPDX-License-Identifier: MIT */
#include "sources.h"
#include "leaves/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

struct record { /* before its path and its bytes */
    uint32_t path;
    uint32_t bytes;
    uint32_t is_missing; /* bytes say why */
    uint32_t unused;
};

static const char NOT_PLAIN[] = "is not a file";

struct sources {
    struct buf records;
    bool is_live; /* what the records lack is looked for on the disk */
    struct buf why;
};

struct sources *sources_new(void)
{
    struct sources *sources = mem_new(sizeof *sources);

    sources->is_live = true;
    return sources;
}

bool sources_is_live(const struct sources *sources)
{
    return sources->is_live;
}

/* ---- records ---- */

struct entry { /* borrowed from the records */
    const char *path;
    struct slice bytes;
    bool is_missing;
};

/* The record at *at, which is moved behind it; false at the end, or where it is not sound. */
static bool next(const struct sources *sources, size_t *at, struct entry *entry)
{
    struct record record;
    size_t left = sources->records.len - *at;
    const char *from = sources->records.ptr + *at;

    if (left < sizeof record)
        return false;
    memcpy(&record, from, sizeof record);
    left -= sizeof record;
    if (record.path == 0 || record.path > left || record.bytes > left - record.path)
        return false;
    entry->path = from + sizeof record;
    entry->bytes = (struct slice){entry->path + record.path, record.bytes};
    entry->is_missing = record.is_missing;
    *at += sizeof record + record.path + record.bytes;
    return entry->path[record.path - 1] == '\0';
}

static bool find(const struct sources *sources, const char *path, struct entry *entry)
{
    size_t at = 0;

    while (next(sources, &at, entry))
        if (strcmp(entry->path, path) == 0)
            return true;
    return false;
}

static void add(struct sources *sources, const char *path, struct slice bytes, bool is_missing)
{
    struct record record = {(uint32_t)strlen(path) + 1, (uint32_t)bytes.len, is_missing, 0};

    buf_add(&sources->records, (struct slice){(const char *)&record, sizeof record});
    buf_add(&sources->records, (struct slice){path, record.path});
    buf_add(&sources->records, bytes);
}

/* ---- reading ---- */

static const char *read_all(int fd, size_t max, bool plain, struct buf *out)
{
    struct stat info;
    ssize_t len;

    if (fstat(fd, &info))
        return strerror(errno);
    if (plain && !S_ISREG(info.st_mode))
        return NOT_PLAIN;
    while ((len = read(fd, buf_reserve(out, 4096), 4096)) > 0) {
        out->len += (size_t)len;
        if (out->len > max)
            return "is too large";
    }
    return len < 0 ? strerror(errno) : NULL;
}

static const char *read_disk(const char *path, size_t max, bool plain, struct buf *out)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        return strerror(errno);
    const char *why = read_all(fd, max, plain, out);
    close(fd);
    return why;
}

static void wipe(struct buf *bytes)
{
    if (bytes->base)
        explicit_bzero(bytes->base, bytes->capacity); /* keys are read this way too */
    buf_free(bytes);
}

static void fetch(struct sources *sources, const char *path, size_t max, bool plain)
{
    struct buf bytes = {0};
    const char *why = read_disk(path, max, plain, &bytes);

    add(sources, path, why ? slice_of(why) : buf_slice(&bytes), why != NULL);
    wipe(&bytes);
}

const char *sources_read(struct sources *sources, const char *path, size_t max, bool plain,
                         struct buf *out)
{
    struct entry entry;

    if (sources->is_live && !find(sources, path, &entry))
        fetch(sources, path, max, plain);
    if (!find(sources, path, &entry))
        return "was not read when this version was first loaded";
    if (!entry.is_missing) {
        buf_add(out, entry.bytes);
        return NULL;
    }
    buf_clear(&sources->why);
    buf_add(&sources->why, entry.bytes);
    buf_add_char(&sources->why, '\0');
    return sources->why.ptr;
}

void sources_each(const struct sources *sources, void (*visit)(void *arg, const char *path),
                  void *arg)
{
    struct entry entry;
    size_t at = 0;

    while (next(sources, &at, &entry))
        visit(arg, entry.path);
}

/* ---- snapshots ---- */

bool sources_save(const struct sources *sources, int fd)
{
    size_t done = 0;

    while (done < sources->records.len) {
        ssize_t len =
            pwrite(fd, sources->records.ptr + done, sources->records.len - done, (off_t)done);
        if (len <= 0)
            return false;
        done += (size_t)len;
    }
    return true;
}

struct sources *sources_open(int fd)
{
    struct sources *sources = mem_new(sizeof *sources);
    struct stat info;

    if (fstat(fd, &info) == 0 && info.st_size > 0) {
        size_t size = (size_t)info.st_size;
        ssize_t len = pread(fd, buf_reserve(&sources->records, size), size, 0);
        sources->records.len = len > 0 ? (size_t)len : 0;
        if (sources->records.len == size)
            return sources;
    }
    sources_free(sources);
    return NULL;
}

static bool has_changed(const struct entry *entry)
{
    struct buf bytes = {0};
    const char *why = read_disk(entry->path, SIZE_MAX, true, &bytes);
    bool changed = why ? !entry->is_missing && why != NOT_PLAIN
                       : entry->is_missing || !slice_equal(buf_slice(&bytes), entry->bytes);

    wipe(&bytes);
    return changed;
}

bool sources_changed(const struct sources *sources)
{
    struct entry entry;
    size_t at = 0;

    while (next(sources, &at, &entry))
        if (has_changed(&entry))
            return true;
    return false;
}

size_t sources_count(const struct sources *sources)
{
    struct entry entry;
    size_t at = 0, count = 0;

    while (next(sources, &at, &entry))
        count += !entry.is_missing;
    return count;
}

void sources_free(struct sources *sources)
{
    if (!sources)
        return;
    wipe(&sources->records);
    buf_free(&sources->why);
    mem_free(sources);
}
