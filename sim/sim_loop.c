/* sim_loop.c -- a list of timers, searched for the next: a request has few. */
/* SPDX-License-Identifier: MIT */
#include "sim_loop.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include <event2/event.h>
#include <event2/event_struct.h>

struct pending {
    struct event *event;
    int64_t due_us;
    uint64_t serial; /* of two that are due at once, the one that was added first comes first */
};

static struct {
    struct pending *items;
    size_t count, capacity;
    uint64_t serial;
    int64_t now_us;
} waiting;

void sim_loop_init(void)
{
    if (!waiting.now_us)
        waiting.now_us = (int64_t)1000 * 1000000; /* any time but 0, which stands for none */
    loop_set_clock(&waiting.now_us);
}

void sim_loop_begin_at(int64_t us)
{
    waiting.now_us = us;
}

void sim_loop_fini(void)
{
    loop_set_clock(NULL);
    mem_free(waiting.items);
    waiting.items = NULL;
    waiting.count = waiting.capacity = 0;
}

static struct pending *next(void)
{
    struct pending *first = NULL;

    for (size_t i = 0; i < waiting.count; i++) {
        struct pending *item = &waiting.items[i];
        bool sooner = !first || item->due_us < first->due_us ||
                      (item->due_us == first->due_us && item->serial < first->serial);
        if (sooner)
            first = item;
    }
    return first;
}

bool sim_loop_turn(void)
{
    struct pending *first = next();

    if (!first)
        return false;
    struct event *event = first->event;
    if (first->due_us > waiting.now_us)
        waiting.now_us = first->due_us;
    *first = waiting.items[--waiting.count];
    event_get_callback(event)(-1, EV_TIMEOUT, event_get_callback_arg(event));
    return true;
}

void sim_loop_advance(int64_t us)
{
    int64_t until_us = waiting.now_us + us;

    for (struct pending *first = next(); first && first->due_us <= until_us; first = next())
        sim_loop_turn();
    waiting.now_us = until_us;
}

/* ---- libevent's, by other names ---- */

int sim_event_assign(struct event *event, struct event_base *base, int fd, short what,
                     void (*callback)(int fd, short what, void *arg), void *arg)
{
    return event_assign(event, NULL, fd, what, callback, arg);
}

int sim_event_del(struct event *event)
{
    for (size_t i = 0; i < waiting.count; i++) {
        if (waiting.items[i].event == event) {
            waiting.items[i] = waiting.items[--waiting.count];
            return 0;
        }
    }
    return 0;
}

static void add(struct event *event, int64_t due_us)
{
    sim_event_del(event);
    if (waiting.count == waiting.capacity) {
        waiting.capacity = waiting.capacity ? waiting.capacity * 2 : 16;
        waiting.items = mem_resize(waiting.items, waiting.capacity * sizeof *waiting.items);
    }
    waiting.items[waiting.count++] = (struct pending){event, due_us, ++waiting.serial};
}

int sim_event_add(struct event *event, const struct timeval *wait)
{
    if (wait)
        add(event, waiting.now_us + (int64_t)wait->tv_sec * 1000000 + wait->tv_usec);
    return 0;
}

void sim_event_active(struct event *event, int what, short calls)
{
    add(event, waiting.now_us);
}
