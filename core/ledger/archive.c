/* archive.c -- two tables: small rows that say when a text ends, and its parts.
 *
 * secure_delete overwrites what is deleted; a checkpoint that cuts the log to nothing then leaves
 * no older copy of a page.  A power failure may lose the last moments: synchronous=NORMAL. */
/* SPDX-License-Identifier: MIT */
#include "archive.h"
#include "leaves/mem.h"
#include <limits.h>
#include <sqlite3.h>
#include <sys/stat.h>

enum { BUSY_MS = 2000 };

static const char schema[] =
    "PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
    "PRAGMA secure_delete=ON; PRAGMA wal_autocheckpoint=4000; PRAGMA temp_store=MEMORY;"
    "CREATE TABLE IF NOT EXISTS texts(id INTEGER PRIMARY KEY, request TEXT NOT NULL, side TEXT NOT"
    " NULL, key INTEGER NOT NULL, time INTEGER NOT NULL, ends INTEGER NOT NULL,"
    " UNIQUE(request, side));"
    "CREATE INDEX IF NOT EXISTS texts_ends ON texts(ends);"
    "CREATE INDEX IF NOT EXISTS texts_key ON texts(key);"
    "CREATE TABLE IF NOT EXISTS parts(text INTEGER NOT NULL, number INTEGER NOT NULL, kind TEXT NOT"
    " NULL, choice INTEGER NOT NULL, bytes INTEGER NOT NULL, said TEXT NOT NULL,"
    " PRIMARY KEY(text, number));"
    "PRAGMA user_version=1;";

enum statement { ADD, ADD_PART, SHORTEN, END_OLDEST, BYTES, SWEEP_PARTS, SWEEP, EACH, STATEMENTS };

#define ENDED "(SELECT id FROM texts WHERE ends <= ?1 ORDER BY ends, id LIMIT ?2)"

static const char *const statements[STATEMENTS] = {
    [ADD] = "INSERT OR IGNORE INTO texts(request, side, key, time, ends)"
            " VALUES(?1, ?2, ?3, ?4, ?5)",
    [ADD_PART] = "INSERT INTO parts VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
    [SHORTEN] = "UPDATE texts SET ends = min(time + ?2, ?3) WHERE (key = ?1 OR ?1 = 0)"
                " AND ends > min(time + ?2, ?3)",
    [END_OLDEST] = "UPDATE texts SET ends = ?1 WHERE id IN (SELECT id FROM texts WHERE ends > ?1"
                   " ORDER BY id LIMIT ?2)",
    [BYTES] = "SELECT (page_count - freelist_count) * page_size FROM pragma_page_count,"
              " pragma_freelist_count, pragma_page_size",
    [SWEEP_PARTS] = "DELETE FROM parts WHERE text IN " ENDED,
    [SWEEP] = "DELETE FROM texts WHERE id IN " ENDED,
    [EACH] = "SELECT side, key, time, ends, kind, choice, bytes, said FROM texts t JOIN parts p"
             " ON p.text = t.id WHERE request = ?1 AND ends > ?2 ORDER BY side DESC, number",
};

struct archive {
    sqlite3 *db;
    sqlite3_stmt *made[STATEMENTS];
    int64_t text;   /* the id of the last that was added; 0: it was there already */
    int64_t number; /* of its last part */
};

/* ---- the database ---- */

static bool prepare(struct archive *archive)
{
    for (int i = 0; i < STATEMENTS; i++)
        if (sqlite3_prepare_v3(archive->db, statements[i], -1, SQLITE_PREPARE_PERSISTENT,
                               &archive->made[i], NULL))
            return false;
    return true;
}

struct archive *archive_open(const char *path, bool may_make, struct buf *problem)
{
    struct archive *archive = mem_new(sizeof *archive);
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (may_make ? SQLITE_OPEN_CREATE : 0);
    mode_t mask = umask(0077);

    bool is_open = sqlite3_open_v2(path, &archive->db, flags, NULL) == SQLITE_OK &&
                   sqlite3_busy_timeout(archive->db, BUSY_MS) == SQLITE_OK &&
                   sqlite3_exec(archive->db, schema, NULL, NULL, NULL) == SQLITE_OK &&
                   prepare(archive);
    umask(mask);
    if (is_open)
        return archive;
    buf_add_text(problem, archive_problem(archive));
    archive_close(archive);
    return NULL;
}

void archive_close(struct archive *archive)
{
    if (!archive)
        return;
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(archive->made[i]);
    sqlite3_close(archive->db);
    mem_free(archive);
}

const char *archive_problem(const struct archive *archive)
{
    return sqlite3_errmsg(archive->db);
}

static bool run(struct archive *archive, const char *sql)
{
    return sqlite3_exec(archive->db, sql, NULL, NULL, NULL) == SQLITE_OK;
}

bool archive_begin(struct archive *archive)
{
    return run(archive, "BEGIN IMMEDIATE");
}

bool archive_commit(struct archive *archive)
{
    return run(archive, "COMMIT");
}

void archive_rollback(struct archive *archive)
{
    run(archive, "ROLLBACK");
}

static void bind_text(sqlite3_stmt *statement, int at, struct slice text)
{
    sqlite3_bind_text(statement, at, text.ptr ? text.ptr : "", (int)text.len, SQLITE_STATIC);
}

static bool step(sqlite3_stmt *statement)
{
    bool is_done = sqlite3_step(statement) == SQLITE_DONE;

    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return is_done;
}

/* ---- adding ---- */

bool archive_add(struct archive *archive, const struct archive_text *text)
{
    sqlite3_stmt *statement = archive->made[ADD];

    archive->number = 0;
    archive->text = 0;
    bind_text(statement, 1, text->request);
    bind_text(statement, 2, text->is_answer ? SLICE("answer") : SLICE("request"));
    sqlite3_bind_int(statement, 3, text->account);
    sqlite3_bind_int64(statement, 4, text->time_us);
    sqlite3_bind_int64(statement, 5, text->ends_us);
    if (!step(statement))
        return false;
    if (sqlite3_changes(archive->db))
        archive->text = sqlite3_last_insert_rowid(archive->db);
    return true;
}

bool archive_add_part(struct archive *archive, const struct archive_part *part)
{
    sqlite3_stmt *statement = archive->made[ADD_PART];

    if (!archive->text)
        return true;
    sqlite3_bind_int64(statement, 1, archive->text);
    sqlite3_bind_int64(statement, 2, ++archive->number);
    bind_text(statement, 3, slice_of(part->kind));
    sqlite3_bind_int(statement, 4, part->choice);
    sqlite3_bind_int64(statement, 5, (int64_t)part->bytes);
    bind_text(statement, 6, part->text);
    return step(statement);
}

/* ---- ending ---- */

bool archive_shorten(struct archive *archive, int32_t account, int64_t keep_s, int64_t now_us)
{
    sqlite3_stmt *statement = archive->made[SHORTEN];

    sqlite3_bind_int(statement, 1, account);
    sqlite3_bind_int64(statement, 2, keep_s * 1000000);
    sqlite3_bind_int64(statement, 3, keep_s ? INT64_MAX : now_us);
    return step(statement);
}

static bool end_with(struct archive *archive, enum statement which, int count, int64_t now_us)
{
    sqlite3_stmt *statement = archive->made[which];

    sqlite3_bind_int64(statement, 1, now_us);
    sqlite3_bind_int(statement, 2, count);
    return step(statement);
}

bool archive_end_oldest(struct archive *archive, int count, int64_t now_us)
{
    return end_with(archive, END_OLDEST, count, now_us);
}

int64_t archive_bytes(struct archive *archive)
{
    sqlite3_stmt *statement = archive->made[BYTES];
    int64_t bytes = 0;

    if (sqlite3_step(statement) == SQLITE_ROW)
        bytes = sqlite3_column_int64(statement, 0);
    sqlite3_reset(statement);
    return bytes;
}

int archive_sweep(struct archive *archive, int64_t now_us)
{
    if (!archive_begin(archive))
        return -1;
    if (!end_with(archive, SWEEP_PARTS, ARCHIVE_SWEEP, now_us) ||
        !end_with(archive, SWEEP, ARCHIVE_SWEEP, now_us)) {
        archive_rollback(archive);
        return -1;
    }
    int count = sqlite3_changes(archive->db);
    return archive_commit(archive) ? count : -1;
}

void archive_tidy(struct archive *archive)
{
    run(archive, "PRAGMA incremental_vacuum(4000)");
    run(archive, "PRAGMA wal_checkpoint(TRUNCATE)");
}

/* ---- reading ---- */

static struct slice text_at(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);
    return (struct slice){text, (size_t)sqlite3_column_bytes(statement, column)};
}

bool archive_each(struct archive *archive, struct slice request, int64_t now_us,
                  void (*visit)(void *arg, const struct archive_text *text,
                                const struct archive_part *part),
                  void *arg)
{
    sqlite3_stmt *statement = archive->made[EACH];
    int result;

    bind_text(statement, 1, request);
    sqlite3_bind_int64(statement, 2, now_us);
    while ((result = sqlite3_step(statement)) == SQLITE_ROW) {
        struct archive_text text = {
            .request = request,
            .is_answer = slice_is(text_at(statement, 0), "answer"),
            .account = sqlite3_column_int(statement, 1),
            .time_us = sqlite3_column_int64(statement, 2),
            .ends_us = sqlite3_column_int64(statement, 3),
        };
        struct archive_part part = {
            .kind = text_at(statement, 4).ptr,
            .choice = sqlite3_column_int(statement, 5),
            .bytes = (uint64_t)sqlite3_column_int64(statement, 6),
            .text = text_at(statement, 7),
        };
        visit(arg, &text, &part);
    }
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return result == SQLITE_DONE;
}
