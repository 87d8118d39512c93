/* clerk.c -- the master's side: a child, and a socket pair whose end is the child's end.
 *
 * It ignores the signals that stop a gateway: workers that drain still owe it.  When the master
 * is gone, however, the socket says so; then it writes what is there and leaves the rest to the
 * clerk of the next master, who waits for its lock on the ledger. */
/* SPDX-License-Identifier: MIT */
#include "clerk.h"
#include "accounts/budget.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "ledger/clerk_work.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const int64_t RESTART_US = 100 * 1000, PATIENCE_US = 5 * 1000000;

enum { REQUEST_MAX = 64 * 1024, RESERVED = 3 };

struct clerk {
    char *folder, *timezone;
    struct keys *keys;
    struct budget *budget;
    struct rings *rings;
    bool is_told; /* the process lives in that time zone */
    pid_t pid;    /* 0: is not running */
    int fd;       /* to it; -1: none */
    int64_t start_at_us, wanted_us;
    bool is_wanted;
    unsigned deaths;
};

struct clerk *clerk_new(const struct clerk_settings *settings)
{
    struct clerk *clerk = mem_new(sizeof *clerk);

    clerk->folder = mem_dup(slice_of(settings->folder));
    clerk->timezone = mem_dup(slice_of("UTC")); /* until it is wanted */
    clerk->keys = settings->keys;
    clerk->budget = settings->budget;
    clerk->rings = settings->rings;
    clerk->fd = -1;
    return clerk;
}

void clerk_want(struct clerk *clerk, bool is_wanted, const char *timezone)
{
    if (is_wanted && !clerk->is_wanted)
        clerk->wanted_us = loop_now_us();
    clerk->is_wanted = is_wanted;
    if (strcmp(timezone, clerk->timezone) == 0)
        return;
    mem_free(clerk->timezone);
    clerk->timezone = mem_dup(slice_of(timezone));
    clerk->is_told = false;
}

char *clerk_journals(const char *folder)
{
    char path[4096];

    snprintf(path, sizeof path, "%s/journal", folder);
    return mem_dup(slice_of(path));
}

/* ---- its life ---- */

static void become_clerk(const struct clerk *clerk, int fd)
{
    struct clerk_work work = {
        .folder = clerk->folder,
        .timezone = clerk->timezone,
        .keys = clerk->keys,
        .budget = clerk->budget,
        .rings = clerk->rings,
        .fd = fd,
    };
    sigset_t all;

    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigfillset(&all);
    sigprocmask(SIG_UNBLOCK, &all, NULL);
    if (fd > RESERVED)
        close_range(RESERVED, (unsigned)fd - 1, 0);
    close_range((unsigned)fd + 1, ~0u, 0);
    exit(clerk_work(&work));
}

static void start(struct clerk *clerk)
{
    int fds[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds))
        return;
    clerk->pid = fork();
    if (clerk->pid == 0)
        become_clerk(clerk, fds[1]);
    close(fds[1]);
    clerk->fd = fds[0];
    clerk->is_told = true; /* it was born there */
    if (clerk->pid > 0)
        return;
    clerk->pid = 0;
    close(clerk->fd);
    clerk->fd = -1;
}

/* False: it has too much to do, and is told with the next turn. */
static bool tell_timezone(struct clerk *clerk)
{
    size_t len = strlen(clerk->timezone);

    if (!clerk->is_told)
        clerk->is_told = send(clerk->fd, clerk->timezone, len, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0;
    return clerk->is_told;
}

int64_t clerk_turn(struct clerk *clerk, int64_t now_us)
{
    if (!clerk->is_wanted)
        return INT64_MAX;
    if (!clerk->pid && now_us >= clerk->start_at_us) {
        clerk->start_at_us = now_us + RESTART_US;
        start(clerk);
    }
    if (!clerk->pid)
        return clerk->start_at_us;
    if (!tell_timezone(clerk))
        return now_us + RESTART_US;
    return clerk_is_ready(clerk) ? INT64_MAX : now_us + 5000; /* workers wait */
}

bool clerk_is_ready(const struct clerk *clerk)
{
    return !clerk->is_wanted || budget_is_loaded(clerk->budget) ||
           loop_now_us() - clerk->wanted_us > PATIENCE_US;
}

bool clerk_is_wanted(const struct clerk *clerk)
{
    return clerk->is_wanted;
}

bool clerk_runs(const struct clerk *clerk)
{
    return clerk->pid != 0;
}

unsigned clerk_deaths(const struct clerk *clerk)
{
    return clerk->deaths;
}

bool clerk_reap(struct clerk *clerk, pid_t pid, int status)
{
    if (!clerk->pid || pid != clerk->pid)
        return false;
    clerk->pid = 0;
    close(clerk->fd);
    clerk->fd = -1;
    clerk->start_at_us = loop_now_us() + RESTART_US;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) /* it makes way for the next */
        return true;
    clerk->deaths++;
    struct log_line line = log_begin(LOG_ERROR, "clerk_died");
    log_int(&line, "pid", pid);
    log_int(&line, WIFSIGNALED(status) ? "signal" : "status",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    log_end(&line);
    return true;
}

void clerk_free(struct clerk *clerk)
{
    int status;

    if (!clerk)
        return;
    if (clerk->fd >= 0)
        close(clerk->fd);
    while (clerk->pid && waitpid(clerk->pid, &status, 0) < 0 && errno == EINTR)
        ;
    mem_free(clerk->folder);
    mem_free(clerk->timezone);
    mem_free(clerk);
}

/* ---- what operators ask ---- */

bool clerk_answers(struct slice request)
{
    static const char *const paths[] = {"/keys", "/teams", "/usage", "/requests"};
    const char *path = memchr(request.ptr, ' ', request.len);
    size_t left = path ? request.len - (size_t)(++path - request.ptr) : 0;

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        size_t len = strlen(paths[i]);
        if (left > len && memcmp(path, paths[i], len) == 0 && strchr(" /?", path[len]))
            return true;
    }
    return false;
}

bool clerk_is_private(struct slice request)
{
    static const struct slice end = {"/texts", 6};
    const char *path = memchr(request.ptr, ' ', request.len);
    size_t left = path ? request.len - (size_t)(++path - request.ptr) : 0, len = 0;

    while (len < left && !strchr(" ?", path[len]))
        len++;
    return len > end.len && memcmp(path + len - end.len, end.ptr, end.len) == 0;
}

static enum clerk_pass hand_over(const struct clerk *clerk, int fd, struct slice request)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } room = {{0}};
    struct iovec bytes = {(char *)request.ptr, request.len};
    struct msghdr packet = {
        .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof room};
    struct cmsghdr *header = CMSG_FIRSTHDR(&packet);

    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(header), &fd, sizeof fd);
    ssize_t len = sendmsg(clerk->fd, &packet, MSG_NOSIGNAL | MSG_DONTWAIT);
    return len == (ssize_t)request.len ? CLERK_TOOK : CLERK_IS_AWAY; /* or has too much to do */
}

enum clerk_pass clerk_pass(struct clerk *clerk, int fd, struct slice request)
{
    if (!clerk || (!clerk->is_wanted && clerk->fd < 0))
        return CLERK_IS_NONE;
    if (request.len > REQUEST_MAX)
        return CLERK_TOO_LARGE;
    return clerk->fd < 0 ? CLERK_IS_AWAY : hand_over(clerk, fd, request);
}
