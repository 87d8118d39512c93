/* journal.h -- what a worker owes the ledger: a file of slots that outlives whoever writes it.
 *
 * A slot is one request or one attempt.  It is opened, with all that would be
 * needed should its worker die, before a byte leaves for a provider; it is
 * closed with what came of it; and the clerk frees it once the ledger has it.
 * A worker writes its own journal alone and holds a lock on it, which ends with
 * the worker, however that ends.
 *
 *   FREE -> OPENING -> OPEN -> SETTLING -> CLOSED -> FREE
 *     [worker: budget_...]  [the same]       [clerk]
 *
 * In OPENING and SETTLING a change of budgets is under way, whose number is op:
 * budget_applied tells whether it was made. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/slice.h"

enum { JOURNAL_SLOTS = 16384, JOURNAL_TEXT = 128 };

enum journal_state { SLOT_FREE, SLOT_OPENING, SLOT_OPEN, SLOT_SETTLING, SLOT_CLOSED };

struct journal_slot { /* 512 bytes */
    uint64_t op;      /* of the change that is under way, or was the last */
    uint64_t counted; /* by a later master: its run; 0: by none; see held_op */
    int32_t account, team;
    int32_t is_attempt;
    int32_t number;               /* of an attempt, from 1; of a request, how many it made */
    int64_t reserved, cost, left; /* micro-dollars; left: of a request, what came back unused */
    int64_t started_us, ended_us; /* wall clock */
    int64_t tokens_at_us;         /* monotonic: when its tokens were counted, */
    int64_t tokens_held;          /* and how many */
    int64_t first_ms, total_ms;   /* -1: not reached */
    int64_t prompt, completion, cached, reasoning; /* -1: was not said */
    int32_t status;
    uint32_t generation;
    int32_t endpoint;
    int32_t is_estimated; /* the cost is */
    char request[32];
    char code[24];
    char model[JOURNAL_TEXT];     /* as the client called it */
    char target[JOURNAL_TEXT];    /* provider/model */
    uint64_t held_op, counted_op; /* that master's clerk's changes for it (estate.c); 0: none */
    char spare[32];
};

struct journal;

/* ---- the worker's ---- */

/* A new one in the folder, which is made; NULL: it cannot be (errno), as when the disk is full.
 * run: whose memory the budgets are in; seat: this worker's there.  All of its blocks are taken: a
 * disk that fills up later does not matter. */
struct journal *journal_new(const char *folder, uint64_t run, int seat);
/* A free slot, all zero, in state OPENING; -1: none is free. */
int journal_take(struct journal *journal);

/* ---- both sides' ---- */

struct journal_slot *journal_slot(struct journal *journal, int at);
enum journal_state journal_state(const struct journal *journal, int at);
void journal_set(struct journal *journal, int at, enum journal_state state);
uint64_t journal_run(const struct journal *journal);
int journal_seat(const struct journal *journal);
/* Lets go of it; the file stays.  Accepts NULL. */
void journal_free(struct journal *journal);

/* ---- the clerk's ---- */

/* One that a worker made, without the slots that no worker has written so (damaged: how many).
 * NULL: it cannot be read; errno is EBADMSG where it is no journal, or another version's. */
struct journal *journal_open(const char *path, int *damaged);
/* One of a dead worker, on a disk that can only be read: what is done to it is not on the disk
 * until it has thawed.  False: it is not yet, and cannot be. */
bool journal_is_frozen(const struct journal *journal);
bool journal_thaw(struct journal *journal);
/* Removes what a worker that was killed has begun to make, a while ago. */
void journal_sweep(const char *draft);
bool journal_is_dead(struct journal *journal); /* nobody writes it any more */
bool journal_is_empty(const struct journal *journal);
const char *journal_path(const struct journal *journal);
void journal_remove(struct journal *journal); /* and frees it */
