/* rows.c -- a ledger of many rows, made by the code that writes them, and what writing costs.
 *
 *     rows FOLDER [REQUESTS] [KEYS] [DAYS]      1,000,000 requests of 500 keys over 28 days
 *
 * Each request has one attempt.  50 teams, 8 models, 2 targets for each: who asked for what is as
 * random as can be, so that sums are as little shorter than rows as can be.  bench/ledger builds
 * and runs it. */
/* SPDX-License-Identifier: MIT */
#include "accounts/journal.h"
#include "ledger/ledger.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

enum { TEAMS = 50, MODELS = 8, TARGETS = 2, GROUP = 60 /* what 3,000 a second bring in a pass */ };

static const int64_t DAY_US = 86400 * (int64_t)1000000;

struct rows {
    struct ledger *ledger;
    long count, done;
    int keys;
    int64_t from_us, span_us;
    uint64_t random;
};

static double seconds_of(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* xorshift64: the same rows in every run. */
static int random_below(struct rows *rows, int limit)
{
    rows->random ^= rows->random << 13;
    rows->random ^= rows->random >> 7;
    rows->random ^= rows->random << 17;
    return (int)(rows->random % (uint64_t)limit);
}

static void ask(struct rows *rows, const char *sql)
{
    if (!ledger_ask(rows->ledger, sql, NULL, 0, NULL, NULL)) {
        fprintf(stderr, "rows: %s: %s\n", sql, ledger_problem(rows->ledger));
        exit(1);
    }
}

static void add_accounts(struct rows *rows)
{
    char sql[512];

    ledger_begin(rows->ledger);
    for (int i = 1; i <= TEAMS; i++) {
        snprintf(sql, sizeof sql,
                 "INSERT INTO accounts(id, kind, name, created) VALUES(%d, 'team', 'team-%d', 1)",
                 i, i);
        ask(rows, sql);
    }
    for (int i = 0; i < rows->keys; i++) {
        snprintf(sql, sizeof sql,
                 "INSERT INTO accounts(id, kind, name, team, sha256, prefix, budget, period, "
                 "created) VALUES(%d, 'key', 'key-%d', %d, randomblob(32), 'wk-abcd', 50000000, "
                 "'month', 1)",
                 TEAMS + 1 + i, i, 1 + i % TEAMS);
        ask(rows, sql);
    }
    ledger_commit(rows->ledger);
}

static void fill(struct rows *rows, struct journal_slot *slot)
{
    int key = random_below(rows, rows->keys), model = random_below(rows, MODELS);

    *slot = (struct journal_slot){.account = TEAMS + 1 + key,
                                  .team = 1 + key % TEAMS,
                                  .number = 1,
                                  .started_us =
                                      rows->from_us + rows->span_us / rows->count * rows->done,
                                  .first_ms = 300,
                                  .total_ms = 1500,
                                  .prompt = 400,
                                  .completion = 300,
                                  .cached = 100,
                                  .reasoning = -1,
                                  .cost = 1 + random_below(rows, 5000),
                                  .status = random_below(rows, 100) ? 200 : 502,
                                  .generation = 1};
    slot->ended_us = slot->started_us + 1500000;
    snprintf(slot->request, sizeof slot->request, "req_%08lx%016llx", rows->done / 10,
             (unsigned long long)rows->random);
    snprintf(slot->model, sizeof slot->model, "model-%d", model);
    snprintf(slot->target, sizeof slot->target, "provider-%d/some-model-%d",
             random_below(rows, TARGETS), model);
    snprintf(slot->code, sizeof slot->code, "%s", slot->status == 200 ? "" : "overloaded");
}

/* As the clerk does it: all that is closed in one transaction. */
static void write_group(struct rows *rows)
{
    bool is_written = ledger_begin(rows->ledger);

    for (int i = 0; i < GROUP && rows->done < rows->count; i++, rows->done++) {
        struct journal_slot slot;
        fill(rows, &slot);
        is_written = is_written && ledger_add(rows->ledger, &slot);
        slot.is_attempt = 1;
        is_written = is_written && ledger_add(rows->ledger, &slot);
    }
    if (is_written && ledger_commit(rows->ledger))
        return;
    fprintf(stderr, "rows: %s\n", ledger_problem(rows->ledger));
    exit(1);
}

static void write_all(struct rows *rows)
{
    long step = rows->count / 4;

    while (rows->done < rows->count) {
        long first = rows->done;
        double clock = seconds_of(CLOCK_MONOTONIC), cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
        while (rows->done - first < step && rows->done < rows->count)
            write_group(rows);
        double each = 1e6 / (double)(rows->done - first);
        printf("requests written: %8ld; %5.1f us each, %5.1f of CPU\n", rows->done,
               (seconds_of(CLOCK_MONOTONIC) - clock) * each,
               (seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu) * each);
    }
}

int main(int argc, char **argv)
{
    struct rows rows = {.random = 88172645463325252u, .count = 1000000, .keys = 500};
    struct buf problem = {0};
    long days = 28;
    char path[4096];

    if (argc < 2) {
        fprintf(stderr, "usage: rows FOLDER [REQUESTS] [KEYS] [DAYS]\n");
        return 2;
    }
    if (argc > 2)
        rows.count = atol(argv[2]);
    if (argc > 3)
        rows.keys = atoi(argv[3]);
    if (argc > 4)
        days = atol(argv[4]);
    snprintf(path, sizeof path, "%s/ledger.db", argv[1]);
    rows.ledger = ledger_open(path, &problem);
    if (!rows.ledger) {
        fprintf(stderr, "rows: %s: %s\n", path, problem.ptr);
        return 1;
    }
    rows.span_us = days * DAY_US;
    rows.from_us = (int64_t)time(NULL) * 1000000 - rows.span_us;
    add_accounts(&rows);
    write_all(&rows);
    ledger_close(rows.ledger);
    return 0;
}
