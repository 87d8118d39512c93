/* gauges.c -- the master's own figures, beside the table that workers add to. */
/* SPDX-License-Identifier: MIT */
#include "gauges.h"
#include "crew.h"
#include "limits.h"
#include "loader.h"
#include "metrics.h"
#include "reload.h"

static void add_gauge(struct buf *out, const char *name, long long value)
{
    buf_add_format(out, "# TYPE %s gauge\n%s %lld\n", name, name, value);
}

static void add_workers(const struct crew *crew, struct buf *out)
{
    static const char *const states[] = {"dead", "draining", "ready", "starting"};
    int counts[4] = {0};

    for (int i = 0; i < crew->count; i++) {
        const struct crew_worker *worker = crew->list[i];
        counts[!worker->pid ? 0 : worker->is_retired ? 1 : worker->is_ready ? 2 : 3]++;
    }
    buf_add_text(out, "# TYPE weir_workers gauge\n");
    for (int i = 0; i < 4; i++)
        buf_add_format(out, "weir_workers{state=\"%s\"} %d\n", states[i], counts[i]);
}

void gauges_write(const struct reload *reload, const struct crew *crew, struct buf *out)
{
    add_gauge(out, "weir_generation", reload_current(reload)->number);
    add_gauge(out, "weir_generations_live", crew_live(crew));
    add_gauge(out, "weir_reload_refused", reload_problems(reload).len > 0);
    add_workers(crew, out);
    metrics_write(limits_metrics(crew->start.limits), out);
}
