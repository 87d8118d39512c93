/* mock_loop.c -- epoll, and a binary heap of timers with the soonest in slot 1. */
/* SPDX-License-Identifier: MIT */
#include "mock_loop.h"
#include "leaves/mem.h"
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { TURN_EVENTS = 512, MAX_WAIT_US = 60000000 };

static volatile sig_atomic_t signalled;

static void on_signal(int number)
{
    signalled = 1;
}

static uint64_t now_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* The signals stay blocked but in epoll_pwait, so that none is missed. */
bool mock_loop_init(struct mock_loop *loop)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigset_t blocked;

    *loop = (struct mock_loop){.epoll = epoll_create1(EPOLL_CLOEXEC), .now_us = now_us()};
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigaddset(&blocked, SIGINT);
    sigprocmask(SIG_BLOCK, &blocked, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    return loop->epoll >= 0;
}

static void free_dropped(struct mock_loop *loop)
{
    while (loop->drops)
        mem_free(loop->dropped[--loop->drops]);
}

void mock_loop_fini(struct mock_loop *loop)
{
    free_dropped(loop);
    mem_free(loop->heap);
    mem_free(loop->dropped);
    if (loop->epoll >= 0)
        close(loop->epoll);
}

static void control(struct mock_loop *loop, int op, struct mock_watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};

    epoll_ctl(loop->epoll, op, watch->fd, &event);
}

void mock_loop_add(struct mock_loop *loop, struct mock_watch *watch, uint32_t events)
{
    control(loop, EPOLL_CTL_ADD, watch, events);
}

void mock_loop_set(struct mock_loop *loop, struct mock_watch *watch, uint32_t events)
{
    control(loop, EPOLL_CTL_MOD, watch, events);
}

static void place(struct mock_loop *loop, struct mock_timer *timer, size_t slot)
{
    loop->heap[slot] = timer;
    timer->slot = slot;
}

static void sift_up(struct mock_loop *loop, struct mock_timer *timer)
{
    size_t slot = timer->slot;

    for (; slot > 1 && loop->heap[slot / 2]->due_us > timer->due_us; slot /= 2)
        place(loop, loop->heap[slot / 2], slot);
    place(loop, timer, slot);
}

static void sift_down(struct mock_loop *loop, struct mock_timer *timer)
{
    size_t slot = timer->slot, child;

    for (; (child = slot * 2) <= loop->timers; slot = child) {
        if (child < loop->timers && loop->heap[child + 1]->due_us < loop->heap[child]->due_us)
            child++;
        if (loop->heap[child]->due_us >= timer->due_us)
            break;
        place(loop, loop->heap[child], slot);
    }
    place(loop, timer, slot);
}

void mock_timer_set(struct mock_loop *loop, struct mock_timer *timer, uint64_t due_us)
{
    timer->due_us = due_us;
    if (!timer->slot) {
        if (loop->timers + 2 > loop->room) {
            loop->room = loop->room ? loop->room * 2 : 64;
            loop->heap = mem_resize(loop->heap, loop->room * sizeof *loop->heap);
        }
        place(loop, timer, ++loop->timers);
    }
    sift_up(loop, timer);
    sift_down(loop, timer);
}

void mock_timer_cancel(struct mock_loop *loop, struct mock_timer *timer)
{
    size_t slot = timer->slot;

    if (!slot)
        return;
    timer->slot = 0;
    struct mock_timer *last = loop->heap[loop->timers--];
    if (last == timer)
        return;
    place(loop, last, slot);
    sift_up(loop, last);
    sift_down(loop, last);
}

void mock_loop_drop(struct mock_loop *loop, void *ptr)
{
    if (loop->drops == loop->drops_room) {
        loop->drops_room = loop->drops_room ? loop->drops_room * 2 : 64;
        loop->dropped = mem_resize(loop->dropped, loop->drops_room * sizeof *loop->dropped);
    }
    loop->dropped[loop->drops++] = ptr;
}

static uint64_t wait_us(const struct mock_loop *loop)
{
    uint64_t due_us = loop->timers ? loop->heap[1]->due_us : loop->now_us + MAX_WAIT_US;

    if (due_us <= loop->now_us)
        return 0;
    return due_us - loop->now_us < MAX_WAIT_US ? due_us - loop->now_us : MAX_WAIT_US;
}

/* Waits to the microsecond: with whole milliseconds a thousand streams would
 * speak in unison, and a proxy that wakes once for forty chunks looks cheap. */
static int wait_events(struct mock_loop *loop, struct epoll_event *events)
{
    static bool coarse; /* Linux before 5.11 */
    uint64_t us = wait_us(loop);
    struct timespec wait = {(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
    sigset_t open;

    sigemptyset(&open);
    if (!coarse) {
        int count = epoll_pwait2(loop->epoll, events, TURN_EVENTS, &wait, &open);
        coarse = count < 0 && errno == ENOSYS;
        if (!coarse)
            return count;
    }
    return epoll_pwait(loop->epoll, events, TURN_EVENTS, (int)((us + 999) / 1000), &open);
}

/* At most as many as were armed when it began: timers that are set again to now
 * do not keep the sockets from their turn. */
static void fire_timers(struct mock_loop *loop)
{
    uint64_t now = loop->now_us;

    for (size_t left = loop->timers; left && loop->timers; left--) {
        struct mock_timer *timer = loop->heap[1];
        if (timer->due_us > now)
            return;
        mock_timer_cancel(loop, timer);
        timer->on_due(timer->arg);
    }
}

static void turn(struct mock_loop *loop)
{
    struct epoll_event events[TURN_EVENTS];
    int count = wait_events(loop, events);

    loop->now_us = now_us();
    for (int i = 0; i < count; i++) {
        struct mock_watch *watch = events[i].data.ptr;
        if (watch->fd >= 0)
            watch->on_ready(watch->arg, events[i].events);
    }
    fire_timers(loop);
    if (loop->on_turn)
        loop->on_turn(loop->turn_arg);
    free_dropped(loop);
}

void mock_loop_start(struct mock_loop *loop)
{
    while (!signalled)
        turn(loop);
}
