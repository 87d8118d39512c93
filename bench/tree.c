/* tree.c -- walks /proc/PID/task/TID/children. */
/* SPDX-License-Identifier: MIT */
#include "tree.h"
#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* schedstat: nanoseconds on the CPU, nanoseconds waiting, time slices. */
static uint64_t read_thread_ns(pid_t pid, const char *thread)
{
    char path[128];
    unsigned long long ns = 0;

    snprintf(path, sizeof path, "/proc/%d/task/%.20s/schedstat", pid, thread);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    if (fscanf(file, "%llu", &ns) != 1)
        ns = 0;
    fclose(file);
    return ns;
}

static void add_memory(struct tree_cost *cost, pid_t pid)
{
    char path[128], line[256];
    unsigned long long kib;

    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "Pss: %llu", &kib) == 1)
            cost->pss_kib += kib;
        if (sscanf(line, "Rss: %llu", &kib) == 1)
            cost->rss_kib += kib;
    }
    fclose(file);
}

static void add_process(struct tree_cost *cost, pid_t pid, bool memory);

static void add_children(struct tree_cost *cost, pid_t pid, const char *thread, bool memory)
{
    char path[128];
    int child;

    snprintf(path, sizeof path, "/proc/%d/task/%.20s/children", pid, thread);
    FILE *file = fopen(path, "r");
    if (!file)
        return;
    while (fscanf(file, "%d", &child) == 1)
        add_process(cost, child, memory);
    fclose(file);
}

static void add_process(struct tree_cost *cost, pid_t pid, bool memory)
{
    char path[64];
    struct dirent *entry;

    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    if (!threads)
        return;
    while ((entry = readdir(threads))) {
        if (entry->d_name[0] == '.')
            continue;
        cost->cpu_ns += read_thread_ns(pid, entry->d_name);
        add_children(cost, pid, entry->d_name, memory);
    }
    closedir(threads);
    if (memory)
        add_memory(cost, pid);
}

uint64_t tree_cpu_ns(pid_t root)
{
    struct tree_cost cost = {0};

    if (root)
        add_process(&cost, root, false);
    return cost.cpu_ns;
}

struct tree_cost tree_cost(pid_t root)
{
    struct tree_cost cost = {0};

    if (root)
        add_process(&cost, root, true);
    return cost;
}
