/* ledger.c -- rows and sums, by statements prepared once.
 *
 * What was committed outlives a power failure.  Rows of one transaction are added up before they
 * are added to the sums. */
/* SPDX-License-Identifier: MIT */
#include "ledger.h"
#include "accounts/journal.h"
#include "leaves/mem.h"
#include "leaves/period.h"
#include "sums.h"
#include "tables.h"
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    COLUMNS_MAX = 32,
    BUSY_MS = 1000,         /* while another has it: journals keep the rows, and who asks waits */
    PROGRESS_STEPS = 10000, /* about a millisecond */
};

static const char reading[] =
    "PRAGMA query_only=1; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-16000;";

static const char add_request[] =
    "INSERT OR IGNORE INTO requests VALUES"
    "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)";
static const char add_attempt[] =
    "INSERT OR IGNORE INTO attempts VALUES"
    "(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)";
/* Of one that its worker did not close (estate.c), whose usage nobody knows, the attempts' rows
 * tell the rest; they may come before it or after. */
static const char add_died[] =
    "UPDATE requests SET (cost, attempts) = (SELECT coalesce(sum(cost), 0), count(*) FROM attempts"
    " WHERE request = ?1) WHERE id = ?1 AND estimated = 1 AND prompt IS NULL";
static const char add_sum[] =
    "INSERT INTO sums VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
    " ON CONFLICT DO UPDATE SET requests=requests+?6, errors=errors+?7, attempts=attempts+?8,"
    " prompt=prompt+?9, completion=completion+?10, cached=cached+?11, reasoning=reasoning+?12,"
    " cost=cost+?13, estimated=estimated+?14";
static const char add_day[] =
    "INSERT INTO days VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)"
    " ON CONFLICT DO UPDATE SET requests=requests+?6, errors=errors+?7, attempts=attempts+?8,"
    " prompt=prompt+?9, completion=completion+?10, cached=cached+?11, reasoning=reasoning+?12,"
    " cost=cost+?13, estimated=estimated+?14";

struct ledger {
    sqlite3 *db, *reader;
    sqlite3 *asked; /* of the two, last */
    void (*on_wait)(void *arg);
    void *wait_arg;
    sqlite3_stmt *request, *attempt, *sum, *day, *died;
    struct sums *sums;          /* of this transaction, not yet written */
    struct period_day last_day; /* of the sum before */
};

static bool write_sums(struct ledger *ledger);

static bool prepare(struct ledger *ledger)
{
    const char *const texts[] = {add_request, add_attempt, add_sum, add_day, add_died};
    sqlite3_stmt **statements[] = {&ledger->request, &ledger->attempt, &ledger->sum, &ledger->day,
                                   &ledger->died};

    for (int i = 0; i < 5; i++)
        if (sqlite3_prepare_v3(ledger->db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, statements[i],
                               NULL))
            return false;
    return true;
}

static bool open_one(struct ledger *ledger, const char *path, sqlite3 **db)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int keeps = 1; /* its files: on a full disk they could not be made again */
    bool is_open = sqlite3_open_v2(path, db, flags, NULL) == SQLITE_OK;

    ledger->asked = *db;
    return is_open && sqlite3_busy_timeout(*db, BUSY_MS) == SQLITE_OK &&
           sqlite3_file_control(*db, "main", SQLITE_FCNTL_PERSIST_WAL, &keeps) == SQLITE_OK;
}

/* Called in the midst of a statement of the reader's; what it calls has the other connection. */
static int on_progress(void *arg)
{
    struct ledger *ledger = arg;

    ledger->on_wait(ledger->wait_arg);
    return 0; /* go on */
}

void ledger_on_wait(struct ledger *ledger, void (*on_wait)(void *arg), void *arg)
{
    ledger->on_wait = on_wait;
    ledger->wait_arg = arg;
    sqlite3_progress_handler(ledger->reader, PROGRESS_STEPS, on_progress, ledger);
}

struct ledger *ledger_open(const char *path, struct buf *problem)
{
    struct ledger *ledger = mem_new(sizeof *ledger);
    mode_t mask = umask(0077);

    ledger->sums = sums_new();
    bool is_open = open_one(ledger, path, &ledger->db) && tables_check(ledger->db, problem) &&
                   tables_make(ledger->db) && prepare(ledger) &&
                   open_one(ledger, path, &ledger->reader) &&
                   sqlite3_exec(ledger->reader, reading, NULL, NULL, NULL) == SQLITE_OK;
    umask(mask);
    if (is_open)
        return ledger;
    if (!problem->len)
        buf_add_text(problem, ledger_problem(ledger));
    ledger_close(ledger);
    return NULL;
}

void ledger_close(struct ledger *ledger)
{
    if (!ledger)
        return;
    sqlite3_finalize(ledger->request);
    sqlite3_finalize(ledger->attempt);
    sqlite3_finalize(ledger->sum);
    sqlite3_finalize(ledger->day);
    sqlite3_finalize(ledger->died);
    sqlite3_close(ledger->reader);
    sqlite3_close(ledger->db);
    sums_free(ledger->sums);
    mem_free(ledger);
}

/* A file that was removed, or that another took the place of, takes rows that nobody sees again. */
static bool is_gone(const struct ledger *ledger)
{
    int has_moved = 0;

    return sqlite3_file_control(ledger->db, "main", SQLITE_FCNTL_HAS_MOVED, &has_moved) ==
               SQLITE_OK &&
           has_moved;
}

bool ledger_is_frozen(const struct ledger *ledger)
{
    return sqlite3_db_readonly(ledger->db, "main") == 1;
}

bool ledger_has_thawed(const struct ledger *ledger)
{
    return ledger_is_frozen(ledger) && access(sqlite3_db_filename(ledger->db, "main"), W_OK) == 0;
}

const char *ledger_problem(const struct ledger *ledger)
{
    if (is_gone(ledger))
        return "ledger.db was removed, or another file took its place: put it back, or start the "
               "gateway anew";
    if (ledger_is_frozen(ledger))
        return "ledger.db can only be read: see who may write it, and how its disk is mounted";
    return sqlite3_errmsg(ledger->asked);
}

static bool run(struct ledger *ledger, const char *sql)
{
    return sqlite3_exec(ledger->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

bool ledger_begin(struct ledger *ledger)
{
    ledger->asked = ledger->db;
    return !is_gone(ledger) && run(ledger, "BEGIN IMMEDIATE");
}

bool ledger_commit(struct ledger *ledger)
{
    return write_sums(ledger) && run(ledger, "COMMIT");
}

void ledger_rollback(struct ledger *ledger)
{
    sums_clear(ledger->sums);
    run(ledger, "ROLLBACK");
}

/* ---- slots ---- */

struct binding { /* parameters, in order */
    sqlite3_stmt *statement;
    int at;
};

static void bind_text(struct binding *to, const char *text)
{
    sqlite3_bind_text(to->statement, ++to->at, text, -1, SQLITE_STATIC);
}

static void bind_number(struct binding *to, int64_t number)
{
    sqlite3_bind_int64(to->statement, ++to->at, number);
}

static void bind_known(struct binding *to, int64_t number) /* -1: NULL */
{
    if (number < 0)
        sqlite3_bind_null(to->statement, ++to->at);
    else
        bind_number(to, number);
}

static void bind_usage(struct binding *to, const struct journal_slot *slot)
{
    bind_known(to, slot->prompt);
    bind_known(to, slot->completion);
    bind_known(to, slot->cached);
    bind_known(to, slot->reasoning);
    bind_number(to, slot->cost);
    bind_number(to, slot->is_estimated);
}

static bool step(struct binding *to)
{
    bool is_done = sqlite3_step(to->statement) == SQLITE_DONE;

    sqlite3_reset(to->statement);
    return is_done;
}

static bool write_request(struct ledger *ledger, const struct journal_slot *slot)
{
    static const char *const endpoints[] = {"chat", "completions", "embeddings"};
    struct binding to = {ledger->request, 0};

    bind_text(&to, slot->request);
    bind_number(&to, slot->started_us);
    bind_number(&to, slot->account);
    bind_number(&to, slot->team);
    bind_text(&to, slot->model);
    bind_text(&to, endpoints[slot->endpoint % 3]);
    bind_number(&to, slot->status);
    bind_text(&to, slot->code);
    bind_text(&to, slot->target);
    bind_known(&to, slot->first_ms);
    bind_known(&to, slot->total_ms);
    bind_number(&to, slot->number);
    bind_usage(&to, slot);
    bind_number(&to, slot->generation);
    return step(&to);
}

static bool write_attempt(struct ledger *ledger, const struct journal_slot *slot)
{
    struct binding to = {ledger->attempt, 0};

    bind_text(&to, slot->request);
    bind_number(&to, slot->number);
    bind_number(&to, slot->started_us);
    bind_number(&to, slot->ended_us);
    bind_number(&to, slot->account);
    bind_number(&to, slot->team);
    bind_text(&to, slot->model);
    bind_text(&to, slot->target);
    bind_number(&to, slot->status);
    bind_text(&to, slot->code);
    bind_known(&to, slot->first_ms);
    bind_known(&to, slot->total_ms);
    bind_usage(&to, slot);
    return step(&to);
}

bool ledger_add(struct ledger *ledger, const struct journal_slot *slot)
{
    bool is_written = slot->is_attempt ? write_attempt(ledger, slot) : write_request(ledger, slot);

    if (is_written && sqlite3_changes(ledger->db))
        sums_add(ledger->sums, slot);
    return is_written;
}

bool ledger_add_up(struct ledger *ledger, const struct journal_slot *slot)
{
    struct binding to = {ledger->died, 0};

    bind_text(&to, slot->request);
    return step(&to);
}

/* ---- sums ---- */

void ledger_turn_days(struct ledger *ledger)
{
    ledger->last_day = (struct period_day){0};
}

static bool write_sum(sqlite3_stmt *statement, const struct sum *sum, int64_t quarter)
{
    struct binding to = {statement, 0};

    bind_number(&to, quarter);
    bind_number(&to, sum->account);
    bind_number(&to, sum->team);
    bind_text(&to, sum->model);
    bind_text(&to, sum->target);
    for (int i = 0; i < SUMS_COUNTS; i++)
        bind_number(&to, sum->counts[i]);
    return step(&to);
}

static bool write_sums(struct ledger *ledger)
{
    bool is_written = true;

    for (size_t i = 0; i < sums_len(ledger->sums) && is_written; i++) {
        const struct sum *sum = sums_at(ledger->sums, i);
        is_written =
            write_sum(ledger->sum, sum, sum->quarter) &&
            write_sum(ledger->day, sum, period_day_quarter(&ledger->last_day, sum->quarter));
    }
    sums_clear(ledger->sums);
    return is_written;
}

bool ledger_has(struct ledger *ledger, const struct journal_slot *slot)
{
    const char *sql = slot->is_attempt ? "SELECT 1 FROM attempts WHERE request = ?1 AND number = ?2"
                                       : "SELECT 1 FROM requests WHERE id = ?1";
    sqlite3_stmt *statement = NULL;

    if (sqlite3_prepare_v2(ledger->db, sql, -1, &statement, NULL))
        return false;
    sqlite3_bind_text(statement, 1, slot->request, -1, SQLITE_STATIC);
    if (slot->is_attempt)
        sqlite3_bind_int(statement, 2, slot->number);
    bool has = sqlite3_step(statement) == SQLITE_ROW;
    sqlite3_finalize(statement);
    return has;
}

/* ---- asking ---- */

static void bind_value(sqlite3_stmt *statement, int at, const struct ledger_value *value)
{
    switch (value->type) {
    case LEDGER_NULL: sqlite3_bind_null(statement, at); break;
    case LEDGER_NUMBER:
        if (value->number == (double)(int64_t)value->number)
            sqlite3_bind_int64(statement, at, (int64_t)value->number);
        else
            sqlite3_bind_double(statement, at, value->number);
        break;
    case LEDGER_TEXT:
        sqlite3_bind_text(statement, at, value->text.ptr, (int)value->text.len, SQLITE_STATIC);
        break;
    case LEDGER_BLOB:
        sqlite3_bind_blob(statement, at, value->text.ptr, (int)value->text.len, SQLITE_STATIC);
        break;
    }
}

static struct ledger_value value_of(sqlite3_stmt *statement, int at)
{
    struct ledger_value value = {LEDGER_NULL, 0, {NULL, 0}};

    switch (sqlite3_column_type(statement, at)) {
    case SQLITE_NULL: return value;
    case SQLITE_INTEGER:
    case SQLITE_FLOAT:
        value.type = LEDGER_NUMBER;
        value.number = sqlite3_column_double(statement, at);
        return value;
    default:
        value.type = LEDGER_TEXT;
        value.text.ptr = sqlite3_column_blob(statement, at);
        value.text.len = (size_t)sqlite3_column_bytes(statement, at);
        return value;
    }
}

struct names {
    size_t count;
    const char *names[COLUMNS_MAX];
};

/* They hold until the statement is done; to ask for them costs as much as for the values. */
static void read_names(struct names *names, sqlite3_stmt *statement)
{
    int count = sqlite3_column_count(statement);

    names->count = (size_t)(count < COLUMNS_MAX ? count : COLUMNS_MAX);
    for (size_t i = 0; i < names->count; i++)
        names->names[i] = sqlite3_column_name(statement, (int)i);
}

static void give_row(sqlite3_stmt *statement, const struct names *names,
                     void (*give)(void *arg, const struct ledger_row *row), void *arg)
{
    struct ledger_value values[COLUMNS_MAX];
    struct ledger_row row = {names->count, names->names, values};

    for (size_t i = 0; i < row.count; i++)
        values[i] = value_of(statement, (int)i);
    give(arg, &row);
}

static bool ask(sqlite3 *db, const char *sql, const struct ledger_value *values, size_t count,
                void (*row)(void *arg, const struct ledger_row *row), void *arg)
{
    sqlite3_stmt *statement = NULL;
    struct names names = {0};
    int result;

    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL))
        return false;
    for (size_t i = 0; i < count; i++)
        bind_value(statement, (int)i + 1, &values[i]);
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        if (names.count == 0)
            read_names(&names, statement);
        if (row)
            give_row(statement, &names, row, arg);
    }
    return sqlite3_finalize(statement) == SQLITE_OK && result == SQLITE_DONE;
}

bool ledger_ask(struct ledger *ledger, const char *sql, const struct ledger_value *values,
                size_t count, void (*row)(void *arg, const struct ledger_row *row), void *arg)
{
    ledger->asked = ledger->db;
    return !is_gone(ledger) && ask(ledger->db, sql, values, count, row, arg);
}

bool ledger_read(struct ledger *ledger, const char *sql, const struct ledger_value *values,
                 size_t count, void (*row)(void *arg, const struct ledger_row *row), void *arg)
{
    bool is_read = !is_gone(ledger) && ask(ledger->reader, sql, values, count, row, arg);

    ledger->asked = ledger->reader; /* who was called meanwhile asked the other */
    return is_read;
}

int64_t ledger_last_id(const struct ledger *ledger)
{
    return sqlite3_last_insert_rowid(ledger->db);
}
