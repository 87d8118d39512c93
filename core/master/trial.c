/* trial.c -- what the master keeps of a version on trial. */
/* SPDX-License-Identifier: MIT */
#include "trial.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "loader.h"
#include <unistd.h>

struct trial {
    struct canary *canary;
    struct version *version; /* NULL: none is on */
    unsigned old;
    int listen_fd;
};

struct trial *trial_new(struct canary *canary)
{
    struct trial *trial = mem_new(sizeof *trial);

    trial->canary = canary;
    trial->listen_fd = -1;
    return trial;
}

void trial_begin(struct trial *trial, unsigned old, struct version *version, int listen_fd)
{
    trial->old = old;
    trial->version = version;
    trial->listen_fd = listen_fd;
    version->since_us = loop_now_us();
    canary_begin(trial->canary, old, version->number);
}

bool trial_is_on(const struct trial *trial)
{
    return trial->version != NULL;
}

const struct version *trial_version(const struct trial *trial)
{
    return trial->version;
}

enum canary_verdict trial_look(const struct trial *trial, int64_t now_us)
{
    const struct version *version = trial->version;
    struct canary_counts old, fresh;

    canary_read(trial->canary, &old, &fresh);
    return canary_judge(&old, &fresh, (uint64_t)version->canary_requests,
                        now_us - version->since_us >= version->canary_ms * 1000);
}

void trial_describe(const struct trial *trial, struct buf *out, bool as_json)
{
    struct canary_counts old, fresh;
    long long age_s = (loop_now_us() - trial->version->since_us) / 1000000;

    canary_read(trial->canary, &old, &fresh);
    buf_add_format(out,
                   as_json ? "{\"generation\":%u,\"seconds\":%lld,\"requests\":%llu,"
                             "\"errors\":%llu,\"beside\":{\"generation\":%u,\"requests\":%llu,"
                             "\"errors\":%llu}}"
                           : "generation %u, for %lld s: of %llu requests %llu failed; of "
                             "generation %u meanwhile, of %llu %llu",
                   trial->version->number, age_s, (unsigned long long)fresh.requests,
                   (unsigned long long)fresh.errors, trial->old, (unsigned long long)old.requests,
                   (unsigned long long)old.errors);
}

struct version *trial_end(struct trial *trial, int *listen_fd)
{
    struct version *version = trial->version;

    *listen_fd = trial->listen_fd;
    trial->version = NULL;
    trial->listen_fd = -1;
    canary_begin(trial->canary, 0, 0);
    return version;
}

void trial_free(struct trial *trial)
{
    version_free(trial->version);
    if (trial->listen_fd >= 0)
        close(trial->listen_fd);
    mem_free(trial);
}
