/* archive.h -- the texts that are stored: an SQLite database apart from the ledger, 0600.
 *
 * A text is one side of a request, the request or the answer, in parts; each has a time at which it
 * ends.  What has ended is not shown any more, and swept away with its bytes overwritten.  The
 * clerk's alone, as the ledger is. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/slice.h"

struct archive;

struct archive_text {
    struct slice request; /* its id */
    int32_t account;
    bool is_answer;
    int64_t time_us, ends_us; /* wall clock */
};

struct archive_part {
    const char *kind;
    int32_t choice;
    uint64_t bytes; /* that there were; more than text has: it is cut */
    struct slice text;
};

/* Opens it, or makes it when may_make.  NULL: problem says why, or there is none. */
struct archive *archive_open(const char *path, bool may_make, struct buf *problem);
void archive_close(struct archive *archive);                /* accepts NULL */
const char *archive_problem(const struct archive *archive); /* of the last call that failed */

/* What is between the two is one transaction; false: it was not made. */
bool archive_begin(struct archive *archive);
bool archive_commit(struct archive *archive);
void archive_rollback(struct archive *archive);

/* A text, and then its parts; again: they are added once only. */
bool archive_add(struct archive *archive, const struct archive_text *text);
bool archive_add_part(struct archive *archive, const struct archive_part *part);

/* No text of the account (0: of any) is kept longer than so many seconds; 0: they end now. */
bool archive_shorten(struct archive *archive, int32_t account, int64_t keep_s, int64_t now_us);

enum { ARCHIVE_SWEEP = 200 };

/* Removes ARCHIVE_SWEEP texts that have ended, or fewer when there are no more; gives how many, -1:
 * it cannot. */
int archive_sweep(struct archive *archive, int64_t now_us);
/* So many of the oldest end now. */
bool archive_end_oldest(struct archive *archive, int count, int64_t now_us);
int64_t archive_bytes(struct archive *archive); /* that texts take in the file; 0: not known */
/* After sweeps: no file has a copy any more, and some room goes back to the system. */
void archive_tidy(struct archive *archive);

/* The parts of what is stored of a request, the request's first. */
bool archive_each(struct archive *archive, struct slice request, int64_t now_us,
                  void (*visit)(void *arg, const struct archive_text *text,
                                const struct archive_part *part),
                  void *arg);
