/* notices.h -- tells people of budgets that run out: the log, the metrics, the webhook.
 *
 * Each worker looks ten times a second for what any of them has come to; whoever
 * finds it first tells it.  No request waits for that. */
/* SPDX-License-Identifier: MIT */
#pragma once

struct budget;
struct config;
struct event_base;
struct keys;
struct notices;
struct tallies;
struct upstream;

struct notices_settings { /* all borrowed until notices_free */
    struct event_base *base;
    struct upstream *upstream;
    struct keys *keys;
    struct budget *budget;
    struct tallies *tallies;
    int worker;                                /* its number, which no other that runs has */
    const struct config *(*config)(void *arg); /* that serves now */
    void *arg;
};

struct notices *notices_new(const struct notices_settings *settings);
void notices_free(struct notices *notices); /* another worker goes on; accepts NULL */
