/* ledger.h -- the durable record of keys, requests, attempts and spend: an SQLite database.
 *
 * The only file that calls SQLite, in one process alone: the clerk.  What the
 * rows of accounts mean, and all that people ask, is said by lua/weir/clerk*.lua;
 * here are the form of the tables and the writing of slots. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/slice.h"

struct journal_slot;
struct ledger;

enum ledger_type { LEDGER_NULL, LEDGER_NUMBER, LEDGER_TEXT, LEDGER_BLOB };

struct ledger_value {
    enum ledger_type type;
    double number;
    struct slice text; /* borrowed */
};

/* Opens or makes it, 0600.  NULL: problem says why. */
struct ledger *ledger_open(const char *path, struct buf *problem);
void ledger_close(struct ledger *ledger);                /* accepts NULL */
const char *ledger_problem(const struct ledger *ledger); /* of the last call that failed */

/* It could only be read when it was opened, its disk being read-only or the file another's. */
bool ledger_is_frozen(const struct ledger *ledger);
/* And could be written by now: opened anew. */
bool ledger_has_thawed(const struct ledger *ledger);

/* What is between the two is one transaction; false: it was not made. */
bool ledger_begin(struct ledger *ledger);
bool ledger_commit(struct ledger *ledger);
void ledger_rollback(struct ledger *ledger);

/* Days begin elsewhere from now on: TZ is another.  Those that are past stay as they are. */
void ledger_turn_days(struct ledger *ledger);

/* A slot's row, and its part of the sums; once only, however often it is added. */
bool ledger_add(struct ledger *ledger, const struct journal_slot *slot);
/* A request whose worker died costs what its attempts' rows say: after any of these was added. */
bool ledger_add_up(struct ledger *ledger, const struct journal_slot *slot);

bool ledger_has(struct ledger *ledger, const struct journal_slot *slot); /* its row */

struct ledger_row {
    size_t count;
    const char *const *names;
    const struct ledger_value *values; /* borrowed during the call */
};

/* One statement with its parameters; row is called for each row, and may be NULL. */
bool ledger_ask(struct ledger *ledger, const char *sql, const struct ledger_value *values,
                size_t count, void (*row)(void *arg, const struct ledger_row *row), void *arg);
/* The same of what only reads: on a connection of its own, where it sees the ledger as it was when
 * the statement began.  What ledger_on_wait names is called every so often, and may write. */
bool ledger_read(struct ledger *ledger, const char *sql, const struct ledger_value *values,
                 size_t count, void (*row)(void *arg, const struct ledger_row *row), void *arg);
void ledger_on_wait(struct ledger *ledger, void (*on_wait)(void *arg), void *arg);
int64_t ledger_last_id(const struct ledger *ledger);
