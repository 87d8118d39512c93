/* loader.c -- loads a configuration, in this process or in a child.
 *
 *   master                       child
 *     memfds made, fork ------->   loads, reading the disk
 *                                  writes what it read into one memfd,
 *                                  what the master has to know into the other
 *     loader_finish <-----------   ends: 0, or 3 with the problems in the other
 *
 * The memfds are shared by the fork, so nothing is sent; the child's end says
 * that all is there. */
/* SPDX-License-Identifier: MIT */
#include "loader.h"
#include "loop.h"
#include "mem.h"
#include "policy.h"
#include "sources.h"
#include "upstream.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOADED = 0, REFUSED = 3, BROKEN = 4 }; /* how the child ends */

struct loader {
    pid_t pid;
    int snapshot_fd, result_fd;
    bool is_cancelled;
};

/* ---- a generation and its origins ---- */

static void on_freed(void *arg, struct generation *generation)
{
    loader_unload(generation);
}

void loader_unload(struct generation *generation)
{
    const struct config *config = generation_config(generation);

    for (size_t i = 0; i < config->provider_count; i++)
        origin_free(config->providers[i].origin);
}

static bool make_origins(const char *path, const struct config *config, struct buf *problems)
{
    bool all = true;

    for (size_t i = 0; i < config->provider_count; i++) {
        struct provider *provider = &config->providers[i];
        provider->origin = origin_new(provider->base_url, (const char *const *)provider->headers,
                                      provider->header_count);
        if (!provider->origin)
            buf_add_format(problems, "%s: providers.%s.base_url: libcurl cannot read %s\n", path,
                           provider->name, provider->base_url);
        all = all && provider->origin;
    }
    return all;
}

struct generation *loader_load(const char *path, unsigned number, struct limits *limits,
                               struct sources *sources, struct buf *problems)
{
    struct generation *generation = generation_load(path, number, limits, sources, problems);

    if (!generation)
        return NULL;
    generation_on_free(generation, on_freed, NULL);
    if (make_origins(path, generation_config(generation), problems))
        return generation;
    generation_free(generation);
    return NULL;
}

/* ---- the child ---- */

static void copy_text(char *to, size_t size, const char *text)
{
    snprintf(to, size, "%s", text ? text : "");
}

/* weir.lua's folder is where relative paths of the gateway's own files begin. */
static void admin_path(struct version *version, const char *path, const struct config *config)
{
    const char *slash = strrchr(path, '/'), *at = config->admin;
    int folder = slash && at[0] != '/' ? (int)(slash + 1 - path) : 0;

    snprintf(version->admin, sizeof version->admin, "%.*s%s", at[0] ? folder : 0, path, at);
}

static int tell_facts(int fd, const char *path, const struct config *config)
{
    struct version version = {
        .is_sound = true,
        .fd = -1,
        .port = config->port,
        .workers = config->workers ? config->workers : (int)sysconf(_SC_NPROCESSORS_ONLN),
        .has_keys = config->key_count > 0,
        .watches = config->watches,
        .log_level = config->log_level,
        .log_format = config->log_format,
    };
    copy_text(version.host, sizeof version.host, config->host);
    admin_path(&version, path, config);
    return pwrite(fd, &version, sizeof version, 0) == (ssize_t)sizeof version ? LOADED : BROKEN;
}

/* Stands in a process of its own, which may take what it needs: here also the policies' own specs
 * can run, once the configuration asks for them. */
static int load(const struct loader *loader, const char *path, struct limits *limits)
{
    struct sources *sources = sources_new();
    struct buf problems = {0};
    struct generation *generation = loader_load(path, 0, limits, sources, &problems);

    int status = REFUSED;

    if (!sources_save(sources, loader->snapshot_fd))
        status = BROKEN;
    else if (generation)
        status = tell_facts(loader->result_fd, path, generation_config(generation));
    else if (pwrite(loader->result_fd, problems.ptr, problems.len, 0) != (ssize_t)problems.len)
        status = BROKEN;
    generation_free(generation);
    sources_free(sources);
    buf_free(&problems);
    return status;
}

static void become_loader(const struct loader *loader, const char *path, struct limits *limits)
{
    sigset_t all;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    sigfillset(&all);
    sigprocmask(SIG_UNBLOCK, &all, NULL);
    _exit(load(loader, path, limits));
}

/* ---- the master ---- */

static int memory_file(const char *name)
{
    return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

struct loader *loader_start(const char *path, struct limits *limits)
{
    struct loader *loader = mem_new(sizeof *loader);

    loader->snapshot_fd = memory_file("weir-snapshot");
    loader->result_fd = memory_file("weir-result");
    loader->pid = loader->snapshot_fd < 0 || loader->result_fd < 0 ? -1 : fork();
    if (loader->pid == 0)
        become_loader(loader, path, limits);
    if (loader->pid > 0)
        return loader;
    close_fd(loader->snapshot_fd);
    close_fd(loader->result_fd);
    mem_free(loader);
    return NULL;
}

pid_t loader_pid(const struct loader *loader)
{
    return loader->pid;
}

void loader_cancel(struct loader *loader)
{
    loader->is_cancelled = true;
    kill(loader->pid, SIGKILL);
}

static void read_problems(struct version *version, int fd)
{
    struct stat info;
    size_t size = fstat(fd, &info) == 0 ? (size_t)info.st_size : 0;
    ssize_t len = pread(fd, buf_reserve(&version->problems, size + 1), size, 0);

    version->problems.len = len > 0 ? (size_t)len : 0;
}

static bool read_result(struct version *version, const struct loader *loader, int status)
{
    if (loader->is_cancelled) {
        buf_add_text(&version->problems, "loading took too long and was stopped\n");
    } else if (WIFSIGNALED(status)) {
        buf_add_format(&version->problems, "loading ended with signal %d\n", WTERMSIG(status));
    } else if (WEXITSTATUS(status) == LOADED) {
        return pread(loader->result_fd, version, sizeof *version, 0) == (ssize_t)sizeof *version;
    } else if (WEXITSTATUS(status) == REFUSED) {
        read_problems(version, loader->result_fd);
    } else {
        buf_add_text(&version->problems, "loading failed: out of memory\n");
    }
    return false;
}

struct version *loader_finish(struct loader *loader, int status)
{
    struct version *version = mem_new(sizeof *version);

    version->is_sound = read_result(version, loader, status);
    version->fd = loader->snapshot_fd;
    version->since_us = loop_now_us();
    fcntl(version->fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    close(loader->result_fd);
    mem_free(loader);
    return version;
}

void version_free(struct version *version)
{
    if (!version)
        return;
    close_fd(version->fd);
    buf_free(&version->problems);
    mem_free(version);
}
