/* mock_stats.h -- what the mock saw: counters, the last requests, the record.
 *
 * Specs learn from it what reached a provider, and that the gateway closed its
 * connection: closed_by_peer counts connections that the other side closed
 * before the answer was whole. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "mock_http.h"
#include <stdint.h>

struct mock_stats {
    uint64_t requests;
    uint64_t answers; /* that went out whole */
    uint64_t connections;
    uint64_t open_connections;
    uint64_t open_streams;
    uint64_t closed_by_peer;
    uint64_t last_close_us; /* of those; CLOCK_MONOTONIC, 0: never */
    int record;             /* private from here: file, or -1 */
    struct mock_kept *kept; /* ring, or NULL */
};

/* False when the record cannot be opened; record may be NULL. */
bool mock_stats_init(struct mock_stats *stats, const char *record, bool keep);
void mock_stats_fini(struct mock_stats *stats);

/* Back to nothing, but for what is open. */
void mock_stats_clear(struct mock_stats *stats);

/* Gives the request's number, from 1. */
uint64_t mock_stats_add(struct mock_stats *stats, const struct mock_request *request,
                        uint64_t now_us);

/* How the request ended: done, closed_by_peer, or cut. */
void mock_stats_end(struct mock_stats *stats, uint64_t number, const char *outcome,
                    uint64_t now_us);

void mock_stats_reply(const struct mock_stats *stats, uint64_t now_us, struct buf *out);
void mock_stats_reply_requests(const struct mock_stats *stats, struct buf *out);

/* The counter of that name, NULL if there is none. */
const uint64_t *mock_stats_get(const struct mock_stats *stats, struct slice name);
