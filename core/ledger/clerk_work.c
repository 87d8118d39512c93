/* clerk_work.c -- one loop: what workers have closed, what the dead have left, who asks.
 *
 * A pass takes all closed slots of all journals into one transaction; when that is on disk they
 * are free again.  Killed in between, the next clerk finds them closed and adds them once more,
 * which adds nothing.  While nothing can be written they stay where they are. */
/* SPDX-License-Identifier: MIT */
#include "clerk_work.h"
#include "accounts/budget.h"
#include "clerk_texts.h"
#include "desk.h"
#include "estate.h"
#include "leaves/folder.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "ledger.h"
#include "lua_clerk.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    PASS_MS = 20,    /* between two passes; what a power failure may lose */
    RETRY_MS = 1000, /* after a failure */
    GROUP = 2000,    /* slots in one transaction */
};

static const int64_t LOOK_US = 250 * 1000; /* for new journals, and dead ones */
static const int64_t TURN_US = 1000000;

struct office {
    const struct clerk_work *work;
    struct ledger *ledger;
    struct lua_clerk *lua;
    struct clerk_texts *texts;
    struct desk *desk;
    struct journal **journals;
    size_t count;
    char *folder; /* of the journals */
    struct {
        struct journal *journal;
        int at;
        bool is_left; /* its worker is dead */
    } group[GROUP];   /* slots that the transaction holds */
    size_t grouped;
    int64_t pass_at_us, look_at_us, turn_at_us, retry_at_us, health_at_us;
    bool has_failed; /* and the log knows */
};

/* ---- what is closed ---- */

static void log_failure(struct office *office)
{
    office->retry_at_us = loop_now_us() + RETRY_MS * (int64_t)1000;
    if (office->has_failed)
        return;
    office->has_failed = true;
    struct log_line line = log_begin(LOG_ERROR, "ledger_unavailable");
    log_str(&line, "error", ledger_problem(office->ledger));
    log_end(&line);
}

static void free_group(struct office *office)
{
    for (size_t i = 0; i < office->grouped; i++) {
        struct journal *journal = office->group[i].journal;
        if (!estate_is_ours(office->work->budget, journal))
            estate_count(office->work->budget, journal, office->group[i].at);
        journal_set(journal, office->group[i].at, SLOT_FREE);
    }
}

/* Writes the group; false: the ledger does not take it now. */
static bool write_group(struct office *office)
{
    bool is_written = office->grouped == 0 || ledger_begin(office->ledger);

    for (size_t i = 0; i < office->grouped && is_written; i++) {
        const struct journal_slot *slot =
            journal_slot(office->group[i].journal, office->group[i].at);
        is_written = ledger_add(office->ledger, slot) &&
                     (!office->group[i].is_left || ledger_add_up(office->ledger, slot));
    }
    is_written = is_written && (office->grouped == 0 || ledger_commit(office->ledger));
    if (is_written) {
        free_group(office);
    } else {
        log_failure(office);
        ledger_rollback(office->ledger);
    }
    if (is_written && office->grouped && office->has_failed) {
        office->has_failed = false;
        struct log_line line = log_begin(LOG_INFO, "ledger_available");
        log_end(&line);
    }
    office->grouped = 0;
    return is_written;
}

/* All that is closed now; false when some of it could not be written. */
static bool pass(struct office *office)
{
    for (size_t j = 0; j < office->count; j++) {
        struct journal *journal = office->journals[j];
        bool is_left = journal_is_dead(journal);
        for (int at = 0; at < JOURNAL_SLOTS; at++) {
            if (journal_state(journal, at) != SLOT_CLOSED)
                continue;
            office->group[office->grouped].journal = journal;
            office->group[office->grouped].at = at;
            office->group[office->grouped++].is_left = is_left;
            if (office->grouped == GROUP && !write_group(office))
                return false;
        }
    }
    return write_group(office);
}

/* In the midst of an answer's making, on which workers are not to wait.  Before budgets are loaded
 * nobody is let in, and a row that came while their sums are read would be in none. */
static void breathe(void *arg)
{
    struct office *office = arg;
    int64_t now_us = loop_now_us();

    if (!budget_is_loaded(office->work->budget) || now_us < office->pass_at_us ||
        now_us < office->retry_at_us)
        return;
    pass(office);
    office->pass_at_us = loop_now_us() + PASS_MS * (int64_t)1000;
}

/* ---- journals ---- */

static bool is_known(const struct office *office, const char *path)
{
    for (size_t i = 0; i < office->count; i++)
        if (strcmp(journal_path(office->journals[i]), path) == 0)
            return true;
    return false;
}

static bool ends_with(const char *name, const char *end)
{
    size_t len = strlen(name), end_len = strlen(end);
    return len > end_len && strcmp(name + len - end_len, end) == 0;
}

static void log_damaged(const char *path, int slots)
{
    struct log_line line = log_begin(LOG_ERROR, "journal_damaged");

    log_str(&line, "path", path);
    if (slots)
        log_int(&line, "slots", slots);
    log_end(&line);
}

/* What is no journal is put aside, for people: it is told of once. */
static void put_aside(const char *path)
{
    char aside[4200];

    snprintf(aside, sizeof aside, "%s.damaged", path);
    if (rename(path, aside) == 0)
        log_damaged(aside, 0);
}

static void add_journal(struct office *office, const char *path)
{
    int damaged = 0;

    if (is_known(office, path))
        return;
    struct journal *journal = journal_open(path, &damaged);
    if (!journal && errno == EBADMSG)
        put_aside(path);
    if (!journal)
        return;
    if (damaged)
        log_damaged(path, damaged);
    office->journals = mem_resize(office->journals, (office->count + 1) * sizeof(struct journal *));
    office->journals[office->count++] = journal;
}

static void find_journals(struct office *office)
{
    DIR *folder = opendir(office->folder);
    char path[4096];

    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        snprintf(path, sizeof path, "%s/%s", office->folder, entry->d_name);
        if (ends_with(entry->d_name, ".journal"))
            add_journal(office, path);
        else if (ends_with(entry->d_name, ".new"))
            journal_sweep(path);
    }
    if (folder)
        closedir(folder);
}

static void each_foreign(struct office *office,
                         void (*visit)(struct budget *budget, struct journal *journal))
{
    for (size_t i = 0; i < office->count; i++)
        if (!estate_is_ours(office->work->budget, office->journals[i]))
            visit(office->work->budget, office->journals[i]);
}

/* Journals whose worker is gone are settled, and removed when the ledger has all of them. */
static void look_at_journals(struct office *office)
{
    find_journals(office);
    each_foreign(office, estate_mend);
    each_foreign(office, estate_hold);
    for (size_t i = office->count; i-- > 0;) {
        struct journal *journal = office->journals[i];
        if (!journal_is_dead(journal))
            continue;
        estate_settle(office->work->budget, journal);
        if (!pass(office) || !journal_is_empty(journal) || journal_is_frozen(journal))
            continue;
        int seat = estate_is_ours(office->work->budget, journal) ? journal_seat(journal) : -1;
        journal_remove(journal); /* first: the next clerk is not to free the seat of another */
        office->journals[i] = office->journals[--office->count];
        if (seat >= 0)
            budget_stand(office->work->budget, seat);
    }
}

static bool is_settling(const struct journal *journal)
{
    for (int at = 0; at < JOURNAL_SLOTS; at++)
        if (journal_state(journal, at) == SLOT_SETTLING)
            return true;
    return false;
}

/* False: not all that budgets count is in the ledger. */
static bool settle_now(void *arg)
{
    struct office *office = arg;
    bool is_all = true;

    find_journals(office);
    for (size_t i = 0; i < office->count; i++)
        is_all = is_all && !is_settling(office->journals[i]);
    return pass(office) && is_all;
}

/* ---- who asks ---- */

/* The zone of days and windows. */
static void live_in(const char *timezone)
{
    setenv("TZ", timezone, 1);
    tzset();
}

/* Another zone: the turn finds that other windows run, and sums up what is spent in these. */
static void hear(void *arg, struct slice said)
{
    struct office *office = arg;
    char timezone[64];

    snprintf(timezone, sizeof timezone, "%.*s", (int)said.len, said.ptr);
    live_in(timezone);
    if (!office->lua)
        return;
    ledger_turn_days(office->ledger);
    lua_clerk_turn(office->lua);
}

static void answer(void *arg, struct slice request, struct buf *out)
{
    struct office *office = arg;

    if (!office->lua)
        desk_unavailable(request, "the ledger cannot be opened", out);
    else if (!lua_clerk_answer(office->lua, request, out))
        desk_unavailable(request, "the ledger's process failed: the log has clerk_failed", out);
}

/* ---- the loop ---- */

static void tell_health(struct office *office)
{
    struct budget_health health = {.is_failing = office->has_failed};

    for (size_t i = 0; i < office->count; i++) {
        int64_t used = 0;
        for (int at = 0; at < JOURNAL_SLOTS; at++) {
            enum journal_state state = journal_state(office->journals[i], at);
            used += state != SLOT_FREE;
            health.waiting += state == SLOT_CLOSED;
        }
        if (used > health.fullest)
            health.fullest = used;
    }
    budget_set_health(office->work->budget, &health);
}

static void keep_ledger(struct office *office, int64_t now_us)
{
    pass(office);
    if (now_us >= office->look_at_us) {
        office->look_at_us = now_us + LOOK_US;
        look_at_journals(office);
    }
    if (now_us >= office->turn_at_us) {
        office->turn_at_us = now_us + TURN_US;
        lua_clerk_turn(office->lua);
    }
}

static void turn(struct office *office, int64_t now_us)
{
    if (now_us >= office->health_at_us) {
        office->health_at_us = now_us + LOOK_US;
        tell_health(office);
    }
    if (now_us >= office->retry_at_us)
        keep_ledger(office, now_us);
    clerk_texts_turn(office->texts);
}

/* SQLite writes nothing that it could only read: the next clerk does.  It finds what is held. */
static void make_way(struct office *office)
{
    for (size_t i = 0; i < office->count; i++)
        journal_thaw(office->journals[i]);
    struct log_line line = log_begin(LOG_INFO, "ledger_available");
    log_end(&line);
}

static void run(struct office *office)
{
    bool is_alone = false;

    while (!is_alone && !ledger_has_thawed(office->ledger)) {
        is_alone = !desk_turn(office->desk, PASS_MS);
        turn(office, loop_now_us());
    }
    if (!is_alone)
        make_way(office);
    look_at_journals(office); /* of workers that have ended */
    clerk_texts_take(office->texts);
}

/* The ledger cannot be opened: who asks is told, until the master is to start another. */
static void refuse_all(struct office *office)
{
    int64_t until_us = loop_now_us() + RETRY_MS * (int64_t)1000;

    lua_clerk_free(office->lua);
    office->lua = NULL;
    while (desk_turn(office->desk, PASS_MS) && loop_now_us() < until_us)
        ;
}

/* ---- the beginning ---- */

static void log_waiting(const char *path)
{
    struct log_line line = log_begin(LOG_WARN, "ledger_waits");

    log_str(&line, "path", path);
    log_str(&line, "message",
            "another gateway has it: data is for one, and this waits for it to end");
    log_end(&line);
}

/* Waits for the clerk of a master that was killed to end. */
static int lock_ledger(const char *folder)
{
    char path[4096];

    folder_make(folder);
    snprintf(path, sizeof path, "%s/ledger.lock", folder);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        log_waiting(path);
    while (fd >= 0 && flock(fd, LOCK_EX) && errno == EINTR)
        ;
    return fd;
}

static struct ledger *open_ledger(const char *folder)
{
    struct buf problem = {0};
    char path[4096];

    snprintf(path, sizeof path, "%s/ledger.db", folder);
    struct ledger *ledger = ledger_open(path, &problem);
    if (!ledger) {
        struct log_line line = log_begin(LOG_ERROR, "ledger_unavailable");
        log_str(&line, "path", path);
        log_text(&line, "error", buf_slice(&problem));
        log_end(&line);
    }
    buf_free(&problem);
    return ledger;
}

static struct lua_clerk *open_lua(struct office *office)
{
    struct buf problem = {0};
    struct lua_clerk_settings settings = {
        .ledger = office->ledger,
        .keys = office->work->keys,
        .budget = office->work->budget,
        .texts = office->texts,
        .settle = settle_now,
        .breathe = breathe,
        .arg = office,
    };

    ledger_on_wait(office->ledger, breathe, office);
    struct lua_clerk *lua = lua_clerk_new(&settings, &problem);
    if (!lua) {
        struct log_line line = log_begin(LOG_ERROR, "clerk_failed");
        log_text(&line, "error", buf_slice(&problem));
        log_end(&line);
    }
    buf_free(&problem);
    return lua;
}

/* What cannot be written is not in the sums: it is held, if no clerk wrote it and was killed. */
static void owe(struct office *office, struct journal *journal)
{
    for (int at = 0; at < JOURNAL_SLOTS; at++) {
        if (journal_state(journal, at) != SLOT_CLOSED)
            continue;
        if (ledger_has(office->ledger, journal_slot(journal, at)))
            estate_count(office->work->budget, journal, at);
        else
            estate_owe(office->work->budget, journal, at);
    }
}

/* What an earlier master left is in the ledger before its sums are read, if it can be written. */
static bool load(struct office *office)
{
    bool is_again = budget_is_loaded(office->work->budget);

    look_at_journals(office);
    bool is_all = pass(office);
    for (size_t i = 0; i < office->count && !is_all && !is_again; i++)
        if (!estate_is_ours(office->work->budget, office->journals[i]))
            owe(office, office->journals[i]);
    if (!lua_clerk_load(office->lua, is_again))
        return false;
    budget_loaded(office->work->budget);
    if (ledger_is_frozen(office->ledger))
        log_failure(office);
    return true;
}

int clerk_work(const struct clerk_work *work)
{
    struct office *office = mem_new(sizeof *office);
    char path[4096];
    int status = 1;

    live_in(work->timezone);
    office->work = work;
    snprintf(path, sizeof path, "%s/journal", work->folder);
    office->folder = path;
    int lock = lock_ledger(work->folder);
    office->ledger = open_ledger(work->folder);
    office->texts = clerk_texts_new(work->folder, work->rings, work->keys);
    office->desk = desk_new(work->fd, &(struct desk_owner){answer, hear, office});
    office->lua = office->ledger ? open_lua(office) : NULL;
    if (office->lua && load(office)) {
        run(office);
        status = 0;
    } else {
        refuse_all(office);
    }
    desk_free(office->desk);
    lua_clerk_free(office->lua);
    clerk_texts_free(office->texts);
    ledger_close(office->ledger);
    for (size_t i = 0; i < office->count; i++)
        journal_free(office->journals[i]);
    mem_free(office->journals);
    mem_free(office);
    if (lock >= 0)
        close(lock);
    return status;
}
