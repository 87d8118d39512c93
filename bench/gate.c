/* gate.c -- what a virtual key costs on the way of a request, at 100,000 keys, in nanoseconds.
 *
 *   cc -O2 -D_GNU_SOURCE -iquote core bench/gate.c build/libweir-parsers.so -lcrypto -o /tmp/gate
 *   LD_LIBRARY_PATH=build /tmp/gate              all, some seconds; 1,000 keys as well
 *   valgrind --tool=callgrind --toggle-collect=gate_of /tmp/gate 100000 20000
 *
 * The keys come in random order: what a worker finds of one is in no cache but the machine's last.
 * It is the gateway's own code, from the bytes of the key to a journal's slot, except the clerk,
 * who frees the slots here between two rounds and unmeasured.  The least of several rounds counts:
 * that is the work; the rest is what else ran. */
/* SPDX-License-Identifier: MIT */
#include "accounts/bill.h"
#include "accounts/budget.h"
#include "accounts/journal.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { KEYS = 100000, TEAMS = 100, KEY_LEN = 35, ROUNDS = 200, TIMES = 500 };

struct bench {
    struct keys *keys;
    struct budget *budget;
    struct bills *bills;
    struct journal *journal; /* as the clerk has it */
    char folder[64];
    int32_t count; /* keys */
    int rounds, times;
    uint64_t random;
    char (*texts)[KEY_LEN + 1];
    struct slice chosen[TIMES];
    struct bill *opened[TIMES];
    struct bill_item *items[TIMES];
};

static double now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* xorshift64: the same keys in every run. */
static uint64_t next(struct bench *bench)
{
    bench->random ^= bench->random << 13;
    bench->random ^= bench->random >> 7;
    bench->random ^= bench->random << 17;
    return bench->random;
}

/* ---- keys ---- */

static void write_key(struct bench *bench, char *to)
{
    static const char letters[] = "abcdefghijkmnpqrstuvwxyz23456789";

    memcpy(to, "wk-", 3);
    for (int i = 3; i < KEY_LEN; i++)
        to[i] = letters[next(bench) % 32];
}

static void add_team(struct bench *bench, int32_t number)
{
    struct keys_account team = {.number = number,
                                .has_budget = true,
                                .budget = INT64_MAX / 4,
                                .warns_at = INT64_MAX / 4,
                                .rpm = INT64_MAX / 4,
                                .tpm = INT64_MAX / 4};

    snprintf(team.name, sizeof team.name, "team-%d", number);
    keys_put(bench->keys, &team);
}

/* Everything that a key may have is looked at. */
static void add_key(struct bench *bench, int32_t at)
{
    unsigned char digest[SHA256_BYTES];
    struct keys_account account = {.number = TEAMS + 1 + at,
                                   .team = 1 + at % TEAMS,
                                   .has_budget = true,
                                   .budget = INT64_MAX / 4,
                                   .warns_at = INT64_MAX / 4,
                                   .rpm = INT64_MAX / 4,
                                   .tpm = INT64_MAX / 4,
                                   .concurrent = TIMES + 1,
                                   .expires_s = INT64_MAX};

    write_key(bench, bench->texts[at]);
    snprintf(account.name, sizeof account.name, "key-%d", at);
    snprintf(account.models, sizeof account.models, "fast,default,bench,");
    snprintf(account.labels, sizeof account.labels, "env=prod\nteam=search\n");
    sha256(slice_of(bench->texts[at]), digest);
    keys_put(bench->keys, &account);
    keys_put_digest(bench->keys, digest, account.number, 0);
}

static void choose(struct bench *bench)
{
    for (int i = 0; i < bench->times; i++)
        bench->chosen[i] = slice_of(bench->texts[next(bench) % (uint64_t)bench->count]);
}

/* ---- what is measured ---- */

static const struct bill_price price = {250000, 125000, 1000000, 1000000};

/* Key, limits, reservation: what stands before a request's first attempt. */
__attribute__((noinline)) static void gate_of(struct bench *bench, int i)
{
    static const struct bill_request request = {
        .id = "01JD4Z2Q7M0000000000000000", .model = {"bench", 5}, .tokens = 4500};
    static const struct bill_need need = {400, 4096};
    struct keys_account account;
    struct bill_refusal refusal;

    if (!bills_find(bench->bills, bench->chosen[i], &account) ||
        !bill_open(bench->bills, &account, &request, &bench->opened[i], &refusal) ||
        !bill_send(bench->opened[i], SLICE("mock/bench"), &price, need, &bench->items[i],
                   &refusal) ||
        !bench->items[i])
        abort();
}

/* Behind the last byte. */
__attribute__((noinline)) static void settle_of(struct bench *bench, int i)
{
    static const struct bill_outcome outcome = {.usage = {400, 300, 700, 0, 0},
                                                .told_cost = -1,
                                                .was_sent = true,
                                                .status = 200,
                                                .first_ms = 300,
                                                .total_ms = 900};

    bill_item_note(bench->items[i], "ok");
    bill_item_end(bench->items[i], &outcome);
    bill_end(bench->opened[i], 200, "", SLICE("mock/bench"), 300, 900);
    bill_close(bench->opened[i]);
}

__attribute__((noinline)) static void find_of(struct bench *bench, int i)
{
    struct keys_account account;

    if (!bills_find(bench->bills, bench->chosen[i], &account))
        abort();
}

__attribute__((noinline)) static void find_none_of(struct bench *bench, int i)
{
    struct keys_account account;
    char wrong[KEY_LEN + 1];

    memcpy(wrong, bench->chosen[i].ptr, sizeof wrong);
    wrong[KEY_LEN - 1] = '!';
    if (bills_find(bench->bills, slice_of(wrong), &account))
        abort();
}

/* ---- rounds ---- */

static struct journal *open_journal(const char *folder)
{
    DIR *dir = opendir(folder);
    char path[sizeof((struct dirent *)0)->d_name + 80];
    struct journal *journal = NULL;
    int damaged;

    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (!journal && strstr(entry->d_name, ".journal"))
            journal = journal_open(path, &damaged);
    }
    if (dir)
        closedir(dir);
    return journal;
}

/* The clerk's: what is closed is free again. */
static void free_slots(struct bench *bench)
{
    if (!bench->journal)
        bench->journal = open_journal(bench->folder);
    for (int at = 0; bench->journal && at < JOURNAL_SLOTS; at++)
        if (journal_state(bench->journal, at) == SLOT_CLOSED)
            journal_set(bench->journal, at, SLOT_FREE);
}

static double time_of(struct bench *bench, void (*run)(struct bench *bench, int i))
{
    double began = now_ns();

    for (int i = 0; i < bench->times; i++)
        run(bench, i);
    return (now_ns() - began) / bench->times;
}

static double least(double one, double other)
{
    return one < other ? one : other;
}

static void measure(struct bench *bench)
{
    double found = 1e18, none = 1e18, gate = 1e18, settle = 1e18;

    for (int round = 0; round < bench->rounds; round++) {
        choose(bench);
        found = least(found, time_of(bench, find_of));
        choose(bench);
        none = least(none, time_of(bench, find_none_of));
        choose(bench);
        gate = least(gate, time_of(bench, gate_of));
        settle = least(settle, time_of(bench, settle_of));
        free_slots(bench);
    }
    printf("%d keys\n", bench->count);
    printf("  %-54s %6.0f ns\n", "a key found by its text", found);
    printf("  %-54s %6.0f ns\n", "a wrong key not found", none);
    printf("  %-54s %6.0f ns\n", "the gate: key, limits, reservation", gate);
    printf("  %-54s %6.0f ns\n", "settling: attempt and request, into the journal", settle);
}

/* What the tables take; the journal is a file's. */
static double shared_mib(void)
{
    FILE *status = fopen("/proc/self/status", "r");
    char line[256];
    double kib = 0;

    while (status && fgets(line, sizeof line, status))
        if (sscanf(line, "RssShmem: %lf", &kib) == 1)
            break;
    if (status)
        fclose(status);
    return kib / 1024;
}

static void bench_keys(int32_t count, int requests)
{
    static struct bench bench; /* its arrays are long */

    bench = (struct bench){
        .count = count, .rounds = ROUNDS, .times = TIMES, .random = 88172645463325252u};
    if (requests) {
        bench.times = requests < TIMES ? requests : TIMES;
        bench.rounds = requests / bench.times;
    }
    snprintf(bench.folder, sizeof bench.folder, "/tmp/weir-gate.%d", (int)getpid());
    bench.texts = calloc((size_t)count, sizeof *bench.texts);
    bench.keys = keys_new();
    bench.budget = budget_new(bench.keys);
    bench.bills = bills_new(bench.keys, bench.budget, bench.folder);
    for (int32_t i = 1; i <= TEAMS; i++)
        add_team(&bench, i);
    double began = now_ns();
    for (int32_t i = 0; i < count; i++)
        add_key(&bench, i);
    budget_loaded(bench.budget);
    double loaded = (now_ns() - began) / 1e6;
    measure(&bench);
    printf("  %-54s %6.0f ms\n", "all of them put into the table", loaded);
    printf("  %-54s %6.0f MiB\n", "memory that all processes share for them", shared_mib());
    if (bench.journal)
        journal_remove(bench.journal);
    bills_free(bench.bills);
    budget_free(bench.budget);
    keys_free(bench.keys);
    free(bench.texts);
    rmdir(bench.folder);
}

int main(int argc, char **argv)
{
    int32_t count = argc > 1 ? atoi(argv[1]) : KEYS;
    int requests = argc > 2 ? atoi(argv[2]) : 0;

    if (argc == 1)
        bench_keys(KEYS / 100, 0);
    bench_keys(count, requests);
    return 0;
}
