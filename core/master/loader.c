/* loader.c -- loads a configuration, in this process or in a child.
 *
 *   master                       child
 *     memfds made, fork ------->   loads, reading the disk
 *                                  writes what it read into one memfd,
 *                                  what the master has to know into the other
 *     loader_finish <-----------   ends: LOADED, or REFUSED with the problems in the other
 *
 * The memfds are shared by the fork, so nothing is sent; the child's end says
 * that all is there.  A child that takes too long is ended by its own alarm, and
 * what it was at then stands in the other memfd. */
/* SPDX-License-Identifier: MIT */
#include "loader.h"
#include "leaves/folder.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "leaves/tls.h"
#include "policy/policy.h"
#include "policy/secret.h"
#include "policy/sources.h"
#include "specs.h"
#include "worker/serving.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOADED = 70, REFUSED, BROKEN }; /* how the child ends; a spec may end it otherwise */

enum { LOAD_MS = 10 * 1000 }; /* for loading; the specs have a time of their own */

struct loader {
    pid_t pid;
    int snapshot_fd, result_fd;
    bool is_cancelled;
};

/* ---- the child ---- */

static void copy_text(char *to, size_t size, const char *text)
{
    snprintf(to, size, "%s", text ? text : "");
}

static bool write_result(int fd, struct slice bytes)
{
    return ftruncate(fd, 0) == 0 && pwrite(fd, bytes.ptr, bytes.len, 0) == (ssize_t)bytes.len;
}

static void plan_doors(struct doors_plan *plan, const char *path, const struct config_admin *admin)
{
    if (admin->path)
        folder_own_path(plan->path, sizeof plan->path, path, admin->path, "");
    copy_text(plan->host, sizeof plan->host, admin->host);
    plan->port = admin->port;
    if (admin->host)
        snprintf(plan->token, sizeof plan->token, "%.*s", (int)secret_text(admin->token).len,
                 secret_text(admin->token).ptr);
    for (size_t i = 0; i < admin->host_count; i++) {
        size_t len = strlen(plan->hosts);
        snprintf(plan->hosts + len, sizeof plan->hosts - len, "%s ", admin->hosts[i]);
    }
}

/* The facts, and behind them the settings to be shown. */
static int tell_facts(int fd, const char *path, struct generation *generation, int specs)
{
    const struct config *config = generation_config(generation);
    struct buf result = {0};
    struct version version = {
        .is_sound = true,
        .fd = -1,
        .port = config->port,
        .workers = config->workers ? config->workers : (int)sysconf(_SC_NPROCESSORS_ONLN),
        .specs = specs,
        .has_canary = config_has_canary(config),
        .canary_requests = config->canary.requests,
        .canary_ms = config->canary.time_ms,
        .has_keys = config->key_count > 0 || config->has_ledger,
        .has_ledger = config->has_ledger,
        .store = {config->store_s, config->store_room},
        .watches = config->watches,
        .log_level = config->log_level,
        .log_format = config->log_format,
    };
    copy_text(version.host, sizeof version.host, config->host);
    version.tls_ends = config->tls ? tls_ends(config->tls->made) : 0;
    plan_doors(&version.doors, path, &config->admin);
    folder_own_path(version.data, sizeof version.data, path, config->data, "");
    copy_text(version.timezone, sizeof version.timezone, config->timezone);
    folder_own_path(version.limits, sizeof version.limits, path, config->data, "/limits");
    buf_add(&result, (struct slice){(const char *)&version, sizeof version});
    generation_show(generation, &result);
    bool written = write_result(fd, buf_slice(&result));
    buf_free(&result); /* the process ends, but valgrind looks on */
    return written ? LOADED : BROKEN;
}

static void set_alarm(int64_t ms)
{
    struct itimerval after = {.it_value = {ms / 1000, ms % 1000 * 1000}};

    setitimer(ITIMER_REAL, &after, NULL);
}

/* Says what is run, should it never end, or end the child. */
static void note_spec(int fd, const char *path, int64_t ms)
{
    struct buf text = {0};

    buf_add_format(&text, "%s: this spec did not end: all of policy.check have %g s\n", path,
                   (double)ms / 1000);
    if (!write_result(fd, buf_slice(&text)))
        buf_clear(&text); /* it ends without a name then */
    buf_free(&text);
}

/* Runs the policies' own specs over what was read; what they read besides is read through the same
 * sources, so that the snapshot has it, and a change of it is one of the version.  Gives how many
 * passed; those that failed are in problems. */
static int run_specs(const struct loader *loader, const char *path, const struct config *config,
                     struct sources *sources, struct buf *problems)
{
    struct specs specs = {0};
    struct specs_counts counts = {0};
    struct buf folder = {0};

    if (config->check[0] != '/')
        buf_add(&folder, (struct slice){path, folder_len(path)});
    buf_add_text(&folder, config->check);
    buf_add_char(&folder, '\0');
    if (!specs_find(&specs, folder.ptr))
        buf_add_format(problems, "%s: policy.check: %s is not there\n", path, folder.ptr);
    else if (!specs.count)
        buf_add_format(problems, "%s: policy.check: no *_spec.lua is in %s\n", path, folder.ptr);
    set_alarm(config->check_ms);
    for (size_t i = 0; i < specs.count; i++) {
        note_spec(loader->result_fd, specs.paths[i], config->check_ms);
        specs_prove(specs.paths[i], path, sources, &counts, problems);
    }
    specs_fini(&specs);
    buf_free(&folder);
    return counts.passed;
}

/* Stands in a process of its own, which may take what it needs. */
static int load(const struct loader *loader, const char *path, struct limits *limits)
{
    struct sources *sources = sources_new();
    struct buf problems = {0};
    struct generation *generation = serving_load(path, 0, limits, sources, &problems);
    const struct config *config = generation ? generation_config(generation) : NULL;
    int status = REFUSED, specs = 0;

    if (config && config->check)
        specs = run_specs(loader, path, config, sources, &problems);
    if (!sources_save(sources, loader->snapshot_fd))
        status = BROKEN;
    else if (config && !problems.len)
        status = tell_facts(loader->result_fd, path, generation, specs);
    else if (!write_result(loader->result_fd, buf_slice(&problems)))
        status = BROKEN;
    generation_free(generation);
    sources_free(sources);
    buf_free(&problems);
    return status;
}

static void become_loader(struct loader *loader, const char *path, struct limits *limits)
{
    sigset_t all;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGALRM, SIG_DFL);
    set_alarm(LOAD_MS);
    sigfillset(&all);
    sigprocmask(SIG_UNBLOCK, &all, NULL);
    int status = load(loader, path, limits);
    mem_free(loader);
    _exit(status);
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

/* What a file holds from there on. */
static void read_rest(int fd, size_t from, struct buf *out)
{
    struct stat info;
    size_t size = fstat(fd, &info) == 0 ? (size_t)info.st_size : 0;
    size_t rest = size > from ? size - from : 0;
    ssize_t len = pread(fd, buf_reserve(out, rest + 1), rest, (off_t)from);

    out->len = len > 0 ? (size_t)len : 0;
}

static bool read_facts(struct version *version, int fd)
{
    if (pread(fd, version, sizeof *version, 0) != (ssize_t)sizeof *version)
        return false;
    read_rest(fd, sizeof *version, &version->shown);
    return true;
}

/* Whether it ended while a spec ran, whose name is then there. */
static bool is_in_spec(const struct loader *loader, int status)
{
    struct stat info;
    bool has_text = fstat(loader->result_fd, &info) == 0 && info.st_size > 0;

    return has_text && (WIFSIGNALED(status) || WEXITSTATUS(status) < LOADED);
}

static bool read_result(struct version *version, const struct loader *loader, int status)
{
    if (loader->is_cancelled) {
        buf_add_text(&version->problems, "loading was stopped\n");
    } else if (is_in_spec(loader, status)) {
        read_rest(loader->result_fd, 0, &version->problems);
    } else if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
        buf_add_format(&version->problems, "loading took longer than %d s and was stopped\n",
                       LOAD_MS / 1000);
    } else if (WIFSIGNALED(status)) {
        buf_add_format(&version->problems, "loading ended with signal %d\n", WTERMSIG(status));
    } else if (WEXITSTATUS(status) == LOADED) {
        return read_facts(version, loader->result_fd);
    } else if (WEXITSTATUS(status) == REFUSED) {
        read_rest(loader->result_fd, 0, &version->problems);
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

struct version *loader_run(const char *path, struct limits *limits)
{
    struct loader *loader = loader_start(path, limits);
    int status;

    if (!loader)
        return NULL;
    while (waitpid(loader->pid, &status, 0) < 0 && errno == EINTR)
        ;
    return loader_finish(loader, status);
}

struct version *version_dup(const struct version *version)
{
    struct version *copy = mem_new(sizeof *copy);

    *copy = *version;
    copy->problems = copy->shown = (struct buf){0};
    buf_add(&copy->shown, buf_slice(&version->shown));
    copy->fd = fcntl(version->fd, F_DUPFD_CLOEXEC, 3);
    return copy;
}

void version_free(struct version *version)
{
    if (!version)
        return;
    close_fd(version->fd);
    buf_free(&version->problems);
    buf_free(&version->shown);
    explicit_bzero(version->doors.token, sizeof version->doors.token);
    mem_free(version);
}
