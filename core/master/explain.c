/* explain.c -- a child, and a memfd that it fills. */
/* SPDX-License-Identifier: MIT */
#include "explain.h"
#include "leaves/exit_code.h"
#include "leaves/mem.h"
#include "loader.h"
#include "lua_sim.h"
#include "policy/sources.h"
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXPLAIN_SECONDS = 10 }; /* of real time; the request's own is virtual */

struct explain {
    pid_t pid;
    int fd;
};

/* ---- the child ---- */

static int play(const char *config_path, const struct version *version, const struct limits *limits,
                struct slice request, struct buf *said)
{
    struct sources *sources = sources_open(version->fd);
    struct lua_sim *lua_sim = lua_sim_continue(limits);
    char *text = mem_dup(request), number[16];

    snprintf(number, sizeof number, "%u", version->number);
    const char *args[] = {config_path, text, number};
    if (sources)
        lua_sim_read(lua_sim, sources);
    int result = lua_sim_call(lua_sim, "weir.explain", "live", args, 3, said);
    lua_sim_free(lua_sim);
    sources_free(sources);
    mem_free(text);
    return result < 0 ? EXIT_FAILED : result;
}

static void become_child(struct explain *explain, const char *config_path,
                         const struct version *version, const struct limits *limits,
                         struct slice request)
{
    struct buf said = {0};
    sigset_t all;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGALRM, SIG_DFL);
    sigfillset(&all);
    sigprocmask(SIG_UNBLOCK, &all, NULL);
    alarm(EXPLAIN_SECONDS);
    int result = play(config_path, version, limits, request, &said);
    buf_add_char(&said, '\n');
    bool is_written = write(explain->fd, said.ptr, said.len) == (ssize_t)said.len;
    buf_free(&said);
    mem_free(explain);
    _exit(is_written ? result : EXIT_FAILED);
}

/* ---- the master ---- */

struct explain *explain_start(const char *config_path, const struct version *version,
                              const struct limits *limits, struct slice request)
{
    struct explain *explain = mem_new(sizeof *explain);

    explain->fd = memfd_create("weir-explain", MFD_CLOEXEC);
    explain->pid = explain->fd < 0 ? -1 : fork();
    if (explain->pid == 0)
        become_child(explain, config_path, version, limits, request);
    if (explain->pid > 0)
        return explain;
    explain_free(explain);
    return NULL;
}

pid_t explain_pid(const struct explain *explain)
{
    return explain->pid;
}

int explain_finish(struct explain *explain, int status, struct buf *out)
{
    struct stat info;
    size_t size = fstat(explain->fd, &info) == 0 ? (size_t)info.st_size : 0;
    ssize_t len = pread(explain->fd, buf_reserve(out, size + 1), size, 0);

    out->len += len > 0 ? (size_t)len : 0;
    if (!WIFEXITED(status))
        buf_add_text(out, "explaining took too long and was stopped\n");
    explain->pid = 0;
    explain_free(explain);
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED;
}

void explain_free(struct explain *explain)
{
    if (!explain)
        return;
    if (explain->pid > 0)
        kill(explain->pid, SIGKILL); /* the loop reaps it */
    if (explain->fd >= 0)
        close(explain->fd);
    mem_free(explain);
}
