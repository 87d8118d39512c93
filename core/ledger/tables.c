/* tables.c -- what SQLite keeps, and what earlier versions of it lacked.
 *
 * WAL and synchronous=FULL: what was committed outlives a power failure.  Sums are kept by the
 * quarter of an hour, of which every time zone's day is made, and by the day, for whoever looks far
 * back.  Whoever looks for a model, a target, a team or what was slow finds it, or that there is
 * none, in one index of all in order of time, which costs a row's writing less than one for each
 * would. */
/* SPDX-License-Identifier: MIT */
#include "tables.h"
#include "leaves/buf.h"
#include <sqlite3.h>

enum { VERSION = 1 };

static const char schema[] =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=4000;"
    "PRAGMA journal_size_limit=16777216;"
    "PRAGMA temp_store=MEMORY; PRAGMA cache_size=-16000;"
    "CREATE TABLE IF NOT EXISTS accounts(id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL,"
    " name TEXT NOT NULL, team INTEGER, sha256 BLOB, prefix TEXT, old_sha256 BLOB, old_until"
    " INTEGER, models TEXT, labels TEXT, rpm INTEGER, tpm INTEGER, concurrent INTEGER, budget"
    " INTEGER, period TEXT, soft REAL, expires INTEGER, created INTEGER NOT NULL, revoked INTEGER,"
    " store INTEGER,"
    " UNIQUE(kind, name));"
    "CREATE TABLE IF NOT EXISTS requests(id TEXT NOT NULL UNIQUE, time INTEGER NOT NULL, key"
    " INTEGER, team INTEGER, model TEXT, endpoint TEXT, status INTEGER, code TEXT, target TEXT,"
    " first_ms INTEGER, total_ms INTEGER, attempts INTEGER, prompt INTEGER, completion INTEGER,"
    " cached INTEGER, reasoning INTEGER, cost INTEGER NOT NULL, estimated INTEGER, generation"
    " INTEGER);"
    "CREATE INDEX IF NOT EXISTS requests_what ON requests(time, model, target, team,"
    " total_ms);"
    "CREATE INDEX IF NOT EXISTS requests_key ON requests(key, time);"
    "CREATE INDEX IF NOT EXISTS requests_failed ON requests(time) WHERE status <> 200 OR code <> "
    "'';"
    "CREATE TABLE IF NOT EXISTS attempts(request TEXT NOT NULL, number INTEGER NOT NULL, time"
    " INTEGER NOT NULL, ended INTEGER NOT NULL, key INTEGER, team INTEGER, model TEXT, target TEXT,"
    " status INTEGER, code TEXT, first_ms INTEGER, total_ms INTEGER, prompt INTEGER, completion"
    " INTEGER, cached INTEGER, reasoning INTEGER, cost INTEGER NOT NULL, estimated INTEGER,"
    " PRIMARY KEY(request, number)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS sums(quarter INTEGER NOT NULL, key INTEGER NOT NULL, team INTEGER"
    " NOT NULL, model TEXT NOT NULL, target TEXT NOT NULL, requests INTEGER, errors INTEGER,"
    " attempts INTEGER, prompt INTEGER, completion INTEGER, cached INTEGER, reasoning INTEGER, cost"
    " INTEGER, estimated INTEGER, PRIMARY KEY(quarter, key, team, model, target)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS days(quarter INTEGER NOT NULL, key INTEGER NOT NULL, team INTEGER"
    " NOT NULL, model TEXT NOT NULL, target TEXT NOT NULL, requests INTEGER, errors INTEGER,"
    " attempts INTEGER, prompt INTEGER, completion INTEGER, cached INTEGER, reasoning INTEGER, cost"
    " INTEGER, estimated INTEGER, PRIMARY KEY(quarter, key, team, model, target)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS accounts_team ON accounts(team, kind, name);"
    "DROP INDEX IF EXISTS sums_key; DROP INDEX IF EXISTS requests_time;";

/* What older versions did not have. */
static bool add_columns(sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(db, "SELECT store FROM accounts", -1, &statement, NULL);

    sqlite3_finalize(statement);
    return result == SQLITE_OK || sqlite3_exec(db, "ALTER TABLE accounts ADD COLUMN store INTEGER",
                                               NULL, NULL, NULL) == SQLITE_OK;
}

/* -1: it cannot be read. */
static int version_of(sqlite3 *db)
{
    sqlite3_stmt *statement = NULL;
    int version = -1;

    if (sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        version = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return version;
}

/* Once: a full disk, to which not even this can be written, is no reason not to read. */
static bool set_version(sqlite3 *db)
{
    return version_of(db) == VERSION ||
           sqlite3_exec(db, "PRAGMA user_version=1", NULL, NULL, NULL) == SQLITE_OK;
}

/* What a later version has there, this one would leave out or spoil. */
bool tables_check(sqlite3 *db, struct buf *problem)
{
    int version = version_of(db);

    if (version > VERSION)
        buf_add_format(problem,
                       "a newer Weir has written it, whose tables are of version %d; this one "
                       "knows %d: run the newer one, or name another folder as data",
                       version, VERSION);
    return version <= VERSION;
}

bool tables_make(sqlite3 *db)
{
    return sqlite3_exec(db, schema, NULL, NULL, NULL) == SQLITE_OK && add_columns(db) &&
           set_version(db);
}
