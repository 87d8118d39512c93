/* doors.c -- opens, keeps and closes the listening sockets of the admin side. */
/* SPDX-License-Identifier: MIT */
#include "doors.h"
#include "leaves/folder.h"
#include "leaves/log.h"
#include "leaves/mem.h"
#include "listener.h"
#include <errno.h>
#include <stdio.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 16 };

struct doors {
    struct doors_plan plan;
    int fds[DOOR_COUNT];
    struct doors_plan next; /* what was prepared */
    int next_fds[DOOR_COUNT];
};

/* ---- a unix socket ---- */

/* Why the place is somebody else's, or NULL: a socket file that nobody listens to is what a killed
 * gateway left.  Who listens may have no time to accept, and is not waited for. */
static const char *fault_of(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bool is_open = fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address) == 0;
    int why = errno;

    if (fd >= 0)
        close(fd);
    if (fd >= 0 && (is_open || why == EAGAIN))
        return "another gateway listens there";
    return why == ENOENT || why == ECONNREFUSED ? NULL : strerror(why);
}

static int bind_unix(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t mask = umask(0177); /* 0600 from its first moment */
    bool bad = fd < 0 || bind(fd, (const struct sockaddr *)address, sizeof *address) ||
               listen(fd, BACKLOG);
    int why = errno;

    umask(mask);
    if (bad && fd >= 0)
        close(fd);
    errno = why;
    return bad ? -1 : fd;
}

static int open_unix(const char *path, struct buf *problem)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *why = NULL;
    struct stat info;
    int fd = -1;

    folder_make_around(path);
    if (strlen(path) >= sizeof address.sun_path) {
        why = "the path is too long for a socket";
    } else {
        memcpy(address.sun_path, path, strlen(path) + 1);
        why = fault_of(&address);
    }
    if (!why && lstat(path, &info) == 0 && S_ISSOCK(info.st_mode))
        unlink(path);
    if (!why && (fd = bind_unix(&address)) < 0)
        why = strerror(errno);
    if (why)
        buf_add_format(problem, "admin.listen: %s: %s\n", path, why);
    return fd;
}

/* ---- either ---- */

static bool has_door(const struct doors_plan *plan, enum door door)
{
    return door == DOOR_UNIX ? plan->path[0] : plan->host[0];
}

static bool is_same(const struct doors_plan *one, const struct doors_plan *other, enum door door)
{
    if (door == DOOR_UNIX)
        return strcmp(one->path, other->path) == 0;
    return strcmp(one->host, other->host) == 0 && one->port == other->port;
}

static int open_door(const struct doors_plan *plan, enum door door, struct buf *problem)
{
    if (!has_door(plan, door))
        return -1;
    if (door == DOOR_UNIX)
        return open_unix(plan->path, problem);
    size_t before = problem->len;
    int fd = listener_open(plan->host, plan->port, problem);
    if (problem->len > before)
        buf_add_text(problem, ", for admin.listen\n");
    return fd;
}

static int close_door(const struct doors_plan *plan, enum door door, int fd)
{
    if (fd < 0)
        return -1;
    if (door == DOOR_UNIX)
        unlink(plan->path);
    close(fd);
    return -1;
}

struct doors *doors_new(void)
{
    struct doors *doors = mem_new(sizeof *doors);

    for (int i = 0; i < DOOR_COUNT; i++)
        doors->fds[i] = doors->next_fds[i] = -1;
    return doors;
}

bool doors_prepare(struct doors *doors, const struct doors_plan *plan, struct buf *problems)
{
    size_t before = problems->len;

    doors_drop(doors);
    doors->next = *plan;
    for (int i = 0; i < DOOR_COUNT; i++)
        if (doors->fds[i] < 0 || !is_same(&doors->plan, plan, (enum door)i))
            doors->next_fds[i] = open_door(plan, (enum door)i, problems);
    if (problems->len == before)
        return true;
    doors_drop(doors);
    return false;
}

void doors_drop(struct doors *doors)
{
    for (int i = 0; i < DOOR_COUNT; i++)
        doors->next_fds[i] = close_door(&doors->next, (enum door)i, doors->next_fds[i]);
    explicit_bzero(doors->next.token, sizeof doors->next.token);
    doors->next = (struct doors_plan){0};
}

static void log_unavailable(struct slice why)
{
    struct log_line line = log_begin(LOG_WARN, "admin_unavailable");

    if (why.len && why.ptr[why.len - 1] == '\n')
        why.len--;
    log_text(&line, "error", why);
    log_end(&line);
}

static void log_open_port(int fd)
{
    char text[LISTENER_ADDRESS];
    struct log_line line = log_begin(LOG_INFO, "admin_listening");

    listener_address(fd, text);
    log_str(&line, "address", text);
    log_end(&line);
}

void doors_take(struct doors *doors, const struct doors_plan *plan)
{
    for (int i = 0; i < DOOR_COUNT; i++) {
        struct buf problem = {0};
        if (doors->fds[i] >= 0 && is_same(&doors->plan, plan, (enum door)i))
            continue;
        close_door(&doors->plan, (enum door)i, doors->fds[i]);
        doors->fds[i] = doors->next_fds[i];
        doors->next_fds[i] = -1;
        if (doors->fds[i] < 0)
            doors->fds[i] = open_door(plan, (enum door)i, &problem);
        if (problem.len)
            log_unavailable(buf_slice(&problem));
        if (i == DOOR_TCP && doors->fds[i] >= 0)
            log_open_port(doors->fds[i]);
        buf_free(&problem);
    }
    doors_drop(doors);
    doors->plan = *plan;
}

int doors_fd(const struct doors *doors, enum door door)
{
    return doors->fds[door];
}

const struct doors_plan *doors_plan(const struct doors *doors)
{
    return &doors->plan;
}

bool doors_token_is(const struct doors *doors, struct slice given)
{
    size_t len = strlen(doors->plan.token);
    unsigned char differs = len != given.len || len == 0;

    for (size_t i = 0; i < given.len; i++)
        differs |= (unsigned char)(doors->plan.token[len ? i % len : 0] ^ given.ptr[i]);
    return !differs;
}

void doors_free(struct doors *doors)
{
    if (!doors)
        return;
    doors_drop(doors);
    for (int i = 0; i < DOOR_COUNT; i++)
        close_door(&doors->plan, (enum door)i, doors->fds[i]);
    explicit_bzero(doors, sizeof *doors);
    mem_free(doors);
}
