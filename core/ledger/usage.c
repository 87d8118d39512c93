/* usage.c -- one statement, which reads what is asked for and no more; its rows into sums. */
/* SPDX-License-Identifier: MIT */
#include "usage.h"
#include "leaves/buf.h"
#include "leaves/period.h"
#include "ledger.h"

struct reading {
    const struct usage_question *question;
    struct sums *sums;
    struct period_day day; /* of the row before: they come in order of time */
};

/* The columns come as write_columns has them. */
static void on_row(void *arg, const struct ledger_row *row)
{
    struct reading *reading = arg;
    unsigned by = reading->question->by;
    const struct ledger_value *value = row->values;
    struct sums_key key = {0};

    if (by & USAGE_DAY)
        key.quarter = period_day_quarter(&reading->day, (int64_t)(value++)->number);
    if (by & USAGE_KEY)
        key.account = (int32_t)(value++)->number;
    if (by & USAGE_TEAM)
        key.team = (int32_t)(value++)->number;
    if (by & USAGE_MODEL)
        key.model = (value++)->text;
    if (by & USAGE_TARGET)
        key.target = (value++)->text;
    struct sum *sum = sums_get(reading->sums, &key);
    for (int i = 0; i < SUMS_COUNTS; i++)
        sum->counts[i] += (int64_t)value[i].number;
}

static void write_columns(struct buf *sql, unsigned by)
{
    static const struct {
        unsigned bit;
        const char *column;
    } columns[] = {{USAGE_DAY, "quarter, "},
                   {USAGE_KEY, "key, "},
                   {USAGE_TEAM, "team, "},
                   {USAGE_MODEL, "model, "},
                   {USAGE_TARGET, "target, "}};

    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++)
        if (by & columns[i].bit)
            buf_add_text(sql, columns[i].column);
    buf_add_text(sql, "requests, errors, attempts, prompt, completion, cached, reasoning, cost,"
                      " estimated");
}

static void add_number(struct buf *sql, const char *column, int32_t number)
{
    if (number >= 0)
        buf_add_format(sql, " AND %s = %d", column, (int)number);
}

/* Texts are parameters: clients chose them. */
static size_t add_text(struct buf *sql, const char *column, const char *text,
                       struct ledger_value *value)
{
    if (!text)
        return 0;
    buf_add_format(sql, " AND %s = ?", column);
    *value = (struct ledger_value){.type = LEDGER_TEXT, .text = slice_of(text)};
    return 1;
}

struct sums *usage_new(struct ledger *ledger, const struct usage_question *question)
{
    struct reading reading = {.question = question, .sums = sums_new()};
    struct ledger_value values[2];
    size_t count;
    struct buf sql = {0};

    buf_add_text(&sql, "SELECT ");
    write_columns(&sql, question->by);
    buf_add_format(&sql, " FROM %s WHERE quarter >= %lld AND quarter < %lld",
                   question->of_days ? "days" : "sums", (long long)question->quarter,
                   (long long)question->ends);
    add_number(&sql, "key", question->key);
    add_number(&sql, "team", question->team);
    count = add_text(&sql, "model", question->model, values);
    count += add_text(&sql, "target", question->target, values + count);
    buf_add_char(&sql, '\0');
    bool is_read = ledger_read(ledger, sql.ptr, values, count, on_row, &reading);
    buf_free(&sql);
    if (is_read)
        return reading.sums;
    sums_free(reading.sums);
    return NULL;
}
