/* mock_loop.h -- the mock's event loop: epoll, and a heap of timers.
 *
 * One thread.  A watch and a timer are members of whatever they belong to; the
 * loop owns neither.  What is freed while events wait is freed through
 * mock_loop_drop, after the turn. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef void mock_on_ready(void *arg, uint32_t events); /* EPOLLIN, EPOLLOUT, … */
typedef void mock_on_due(void *arg);

struct mock_watch {
    int fd;
    mock_on_ready *on_ready;
    void *arg;
};

struct mock_timer {
    uint64_t due_us; /* on the loop's clock */
    size_t slot;     /* private: place in the heap, from 1; 0 is not armed */
    mock_on_due *on_due;
    void *arg;
};

struct mock_loop {
    int epoll;
    uint64_t now_us;      /* CLOCK_MONOTONIC at the start of this turn */
    mock_on_due *on_turn; /* at the end of each turn, or NULL */
    void *turn_arg;
    struct mock_timer **heap; /* private from here */
    size_t timers, room;
    void **dropped;
    size_t drops, drops_room;
};

bool mock_loop_init(struct mock_loop *loop);
void mock_loop_fini(struct mock_loop *loop);

/* Runs turns until SIGTERM or SIGINT. */
void mock_loop_start(struct mock_loop *loop);

void mock_loop_add(struct mock_loop *loop, struct mock_watch *watch, uint32_t events);
void mock_loop_set(struct mock_loop *loop, struct mock_watch *watch, uint32_t events);

/* Arms or moves a timer; it fires once. */
void mock_timer_set(struct mock_loop *loop, struct mock_timer *timer, uint64_t due_us);
void mock_timer_cancel(struct mock_loop *loop, struct mock_timer *timer);

/* Takes ptr: mem_free at the end of this turn. */
void mock_loop_drop(struct mock_loop *loop, void *ptr);
