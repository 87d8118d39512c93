/* journal.c -- a mapped file: a head, the states side by side, the slots.
 *
 * What is stored there is the system's to keep: it outlives every process, though not a power
 * failure.  All blocks are taken beforehand, as a mapped file on a full disk would kill. */
/* SPDX-License-Identifier: MIT */
#include "journal.h"
#include "leaves/folder.h"
#include "leaves/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { WARM = 1024 }; /* slots that mostly suffice, and then stay in the caches */

enum { DRAFT_S = 60 /* nobody takes so long to make one */ };

static const int64_t COST_MAX = 1000000000000000; /* a billion dollars */
static const uint64_t MAGIC = 0x314c4e4a52494557; /* "WEIRJNL1" */

struct file {
    uint64_t magic, run;
    int64_t seat;
    _Atomic uint32_t states[JOURNAL_SLOTS];
    struct journal_slot slots[JOURNAL_SLOTS];
};

struct journal {
    struct file *file;
    char *path;
    int fd;
    int next; /* slot to look at first */
    bool is_dead, is_frozen;
};

_Static_assert(sizeof(struct journal_slot) == 512, "a form that later versions read");

static bool map(struct journal *journal)
{
    int kind = journal->is_frozen ? MAP_PRIVATE : MAP_SHARED;
    void *memory = mmap(NULL, sizeof(struct file), PROT_READ | PROT_WRITE, kind, journal->fd, 0);

    journal->file = memory == MAP_FAILED ? NULL : memory;
    return journal->file != NULL;
}

/* Under a name that the clerk passes over until it is whole and locked. */
static bool make(struct journal *journal, const char *draft)
{
    journal->fd = open(draft, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (journal->fd < 0 || flock(journal->fd, LOCK_EX | LOCK_NB))
        return false;
    errno = posix_fallocate(journal->fd, 0, sizeof(struct file));
    return errno == 0 && map(journal);
}

struct journal *journal_new(const char *folder, uint64_t run, int seat)
{
    struct journal *journal = mem_new(sizeof *journal);
    char name[64], draft[4096], path[4096];

    journal->fd = -1;
    snprintf(name, sizeof name, "%016llx-%d-%d", (unsigned long long)run, seat, (int)getpid());
    snprintf(draft, sizeof draft, "%s/%s.new", folder, name);
    snprintf(path, sizeof path, "%s/%s.journal", folder, name);
    folder_make(folder);
    if (make(journal, draft)) {
        journal->file->magic = MAGIC;
        journal->file->run = run;
        journal->file->seat = seat;
        journal->path = mem_dup(slice_of(path));
        if (rename(draft, path) == 0)
            return journal;
    }
    int why = errno;
    unlink(draft);
    journal_free(journal);
    errno = why;
    return NULL;
}

int journal_take(struct journal *journal)
{
    for (int i = 0; i < JOURNAL_SLOTS; i++) {
        int at = (journal->next + i) % JOURNAL_SLOTS;
        if (journal_state(journal, at) != SLOT_FREE)
            continue;
        journal->next = at + 1 == WARM ? 0 : at + 1;
        memset(&journal->file->slots[at], 0, sizeof journal->file->slots[at]);
        journal_set(journal, at, SLOT_OPENING);
        return at;
    }
    return -1;
}

/* ---- both sides ---- */

struct journal_slot *journal_slot(struct journal *journal, int at)
{
    return &journal->file->slots[at];
}

enum journal_state journal_state(const struct journal *journal, int at)
{
    return atomic_load_explicit(&journal->file->states[at], memory_order_acquire);
}

void journal_set(struct journal *journal, int at, enum journal_state state)
{
    atomic_store_explicit(&journal->file->states[at], state, memory_order_release);
}

uint64_t journal_run(const struct journal *journal)
{
    return journal->file->run;
}

int journal_seat(const struct journal *journal)
{
    return (int)journal->file->seat;
}

void journal_free(struct journal *journal)
{
    if (!journal)
        return;
    if (journal->file)
        munmap(journal->file, sizeof *journal->file);
    if (journal->fd >= 0)
        close(journal->fd);
    mem_free(journal->path);
    mem_free(journal);
}

/* ---- the clerk ---- */

static bool is_ended(const char *text, size_t size)
{
    return memchr(text, '\0', size) != NULL;
}

/* After a power failure the states may be there without their slots, and a disk may err. */
static bool is_sound(const struct journal_slot *slot)
{
    bool has_texts =
        is_ended(slot->request, sizeof slot->request) && is_ended(slot->code, sizeof slot->code) &&
        is_ended(slot->model, sizeof slot->model) && is_ended(slot->target, sizeof slot->target);

    return has_texts && slot->request[0] && slot->account > 0 && slot->team >= 0 &&
           (slot->is_attempt & ~1) == 0 && slot->endpoint >= 0 && slot->number >= 0 &&
           slot->started_us > 0 && slot->ended_us >= 0 && slot->reserved >= 0 &&
           slot->reserved <= COST_MAX && slot->cost >= 0 && slot->cost <= COST_MAX;
}

/* One that is OPENING may be half written, by a worker that lives. */
static int drop_damaged(struct journal *journal)
{
    int damaged = 0;

    for (int at = 0; at < JOURNAL_SLOTS; at++) {
        enum journal_state state = journal_state(journal, at);
        bool is_written = state != SLOT_FREE && state != SLOT_OPENING;
        if (!is_written || (state <= SLOT_CLOSED && is_sound(journal_slot(journal, at))))
            continue;
        journal_set(journal, at, SLOT_FREE);
        damaged++;
    }
    return damaged;
}

/* What its worker holds must be known though it cannot be written; one that lives writes it. */
static int open_frozen(struct journal *journal)
{
    int why = errno;

    journal->fd = open(journal->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    journal->is_frozen = true;
    if (journal->fd >= 0 && journal_is_dead(journal))
        return journal->fd;
    errno = why;
    return -1;
}

static int open_file(struct journal *journal)
{
    journal->fd = open(journal->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    return journal->fd < 0 && (errno == EROFS || errno == EACCES) ? open_frozen(journal)
                                                                  : journal->fd;
}

struct journal *journal_open(const char *path, int *damaged)
{
    struct journal *journal = mem_new(sizeof *journal);
    struct stat info;

    *damaged = 0;
    errno = 0;
    journal->path = mem_dup(slice_of(path));
    bool is_there = open_file(journal) >= 0 && fstat(journal->fd, &info) == 0;
    if (is_there && info.st_size != (off_t)sizeof(struct file))
        errno = EBADMSG;
    else if (is_there && map(journal) && journal->file->magic != MAGIC)
        errno = EBADMSG;
    if (journal->file && journal->file->magic == MAGIC) {
        *damaged = drop_damaged(journal);
        return journal;
    }
    int why = errno;
    journal_free(journal);
    errno = why;
    return NULL;
}

bool journal_is_frozen(const struct journal *journal)
{
    return journal->is_frozen;
}

/* The slots come first: a state tells that its slot is written. */
bool journal_thaw(struct journal *journal)
{
    struct file *frozen = journal->file;
    int fd = journal->is_frozen ? open(journal->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW) : -1;

    if (fd < 0)
        return !journal->is_frozen;
    flock(journal->fd, LOCK_UN); /* closed, the file stays locked as long as it is mapped */
    close(journal->fd);
    journal->fd = fd;
    journal->is_frozen = journal->is_dead = false;
    if (!journal_is_dead(journal) || !map(journal)) {
        journal->file = frozen;
        journal->is_frozen = true;
        return false;
    }
    memcpy(journal->file->slots, frozen->slots, sizeof frozen->slots);
    for (int at = 0; at < JOURNAL_SLOTS; at++)
        journal_set(journal, at, atomic_load(&frozen->states[at]));
    munmap(frozen, sizeof *frozen);
    return true;
}

void journal_sweep(const char *draft)
{
    int fd = open(draft, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    struct stat info;

    if (fd < 0)
        return;
    bool is_old = fstat(fd, &info) == 0 && time(NULL) - info.st_mtime > DRAFT_S;
    if (is_old && flock(fd, LOCK_EX | LOCK_NB) == 0)
        unlink(draft);
    close(fd);
}

bool journal_is_dead(struct journal *journal)
{
    if (!journal->is_dead)
        journal->is_dead = flock(journal->fd, LOCK_EX | LOCK_NB) == 0;
    return journal->is_dead;
}

bool journal_is_empty(const struct journal *journal)
{
    for (int i = 0; i < JOURNAL_SLOTS; i++)
        if (journal_state(journal, i) != SLOT_FREE)
            return false;
    return true;
}

const char *journal_path(const struct journal *journal)
{
    return journal->path;
}

void journal_remove(struct journal *journal)
{
    unlink(journal->path);
    journal_free(journal);
}
