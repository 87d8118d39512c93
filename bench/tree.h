/* tree.h -- what a process and its descendants cost, from /proc. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <stdint.h>
#include <sys/types.h>

struct tree_cost {    /* a plain value */
    uint64_t cpu_ns;  /* run time of all threads: user and system */
    uint64_t pss_kib; /* resident, shared pages shared out */
    uint64_t rss_kib;
};

uint64_t tree_cpu_ns(pid_t root);
struct tree_cost tree_cost(pid_t root);
