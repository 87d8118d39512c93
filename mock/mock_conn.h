/* mock_conn.h -- one connection of the mock: reads requests, plays answers.
 *
 * It frees itself when it is over.  The mock owns the list of them. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "mock_loop.h"
#include "mock_options.h"
#include "mock_stats.h"

struct mock_conn;

struct mock { /* what all connections share */
    struct mock_loop loop;
    struct mock_options options;
    struct mock_stats stats;
    struct mock_conn *conns; /* all that are open */
    struct mock_watch listener;
    size_t held; /* connections that wait for a counter */
    bool full;   /* no descriptor was left for the last that came */
};

/* Takes a connected, non-blocking socket. */
void mock_conn_new(struct mock *mock, int fd);

/* All that stall go on as if they had not. */
void mock_conn_resume_all(struct mock *mock);

/* Those that wait for a counter look at it again. */
void mock_conn_check_held(struct mock *mock);

/* Frees all. */
void mock_conn_end_all(struct mock *mock);
