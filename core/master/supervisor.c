/* supervisor.c -- a datagram to $NOTIFY_SOCKET; descriptors from 3 on. */
/* SPDX-License-Identifier: MIT */
#include "supervisor.h"
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { FIRST_FD = 3 }; /* sd_listen_fds(3): SD_LISTEN_FDS_START */

static long number_of(const char *name)
{
    const char *text = getenv(name);

    return text ? strtol(text, NULL, 10) : 0;
}

/* Of TCP: of a unix socket nobody could say whether it is reached from beyond this machine. */
static bool is_listener(int fd)
{
    int type = 0, family = 0, listens = 0;
    socklen_t len = sizeof type;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &len) ||
        (family != AF_INET && family != AF_INET6))
        return false;
    len = sizeof type;
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) || type != SOCK_STREAM)
        return false;
    len = sizeof listens;
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) == 0 && listens;
}

int supervisor_take_listener(struct buf *problem)
{
    long count = number_of("LISTEN_PID") == getpid() ? number_of("LISTEN_FDS") : 0;

    unsetenv("LISTEN_PID"); /* they are not our children's */
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (count <= 0)
        return -1;
    if (count > 1 || !is_listener(FIRST_FD)) {
        buf_add_text(problem,
                     "LISTEN_FDS: one listening TCP socket is wanted from systemd: a port as "
                     "ListenStream, such as ListenStream=127.0.0.1:4000");
        return -1;
    }
    fcntl(FIRST_FD, F_SETFD, FD_CLOEXEC);
    fcntl(FIRST_FD, F_SETFL, fcntl(FIRST_FD, F_GETFL) | O_NONBLOCK);
    return FIRST_FD;
}

void supervisor_say(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    size_t len = path ? strlen(path) : 0;

    if (len < 2 || len >= sizeof address.sun_path || !strchr("/@", path[0]))
        return;
    memcpy(address.sun_path, path, len);
    if (path[0] == '@') /* an abstract one begins with NUL */
        address.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    /* One that does not listen is not waited for. */
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
               (const struct sockaddr *)&address, size) < 0)
        (void)state;
    close(fd);
}
