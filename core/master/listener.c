/* listener.c -- from "host:port" to a socket that listens. */
/* SPDX-License-Identifier: MIT */
#include "listener.h"
#include "leaves/log.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

static void set_option(int fd, int option, int value)
{
    setsockopt(fd, SOL_SOCKET, option, &value, sizeof value);
}

static int bind_one(const struct addrinfo *address, bool is_shared)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    set_option(fd, SO_REUSEADDR, 1);
    set_option(fd, SO_REUSEPORT, is_shared);
    if (bind(fd, address->ai_addr, address->ai_addrlen) || listen(fd, BACKLOG)) {
        close(fd);
        return -1;
    }
    set_option(fd, SO_REUSEPORT, 0); /* nobody else is to share it */
    return fd;
}

static int open_one(const char *host, int port, bool is_shared, struct buf *problem)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found;
    char service[8];
    int fd = -1;

    snprintf(service, sizeof service, "%d", port);
    int bad = getaddrinfo(host[0] ? host : NULL, service, &hints, &found);
    if (bad) {
        buf_add_format(problem, "listen: %s: %s", host, gai_strerror(bad));
        return -1;
    }
    for (struct addrinfo *at = found; at && fd < 0; at = at->ai_next)
        fd = bind_one(at, is_shared);
    freeaddrinfo(found);
    if (fd < 0)
        buf_add_format(problem, "cannot listen on %s:%d: %s", host, port, strerror(errno));
    return fd;
}

int listener_open(const char *host, int port, struct buf *problem)
{
    return open_one(host, port, false, problem);
}

/* 127.0.0.1:4000 and *:4000 exclude each other (EADDRINUSE) unless both say that they share,
 * the elder only now: socket(7), SO_REUSEPORT. */
int listener_open_beside(int old_fd, const char *host, int port, struct buf *problem)
{
    set_option(old_fd, SO_REUSEPORT, 1);
    int fd = open_one(host, port, true, problem);
    set_option(old_fd, SO_REUSEPORT, 0);
    return fd;
}

bool listener_is_loopback(int fd)
{
    union {
        struct sockaddr_storage any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address = {0};
    socklen_t len = sizeof address;

    if (getsockname(fd, (struct sockaddr *)&address, &len))
        return false;
    if (address.any.ss_family == AF_INET)
        return ntohl(address.v4.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    return address.any.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&address.v6.sin6_addr);
}

void listener_address(int fd, char text[static LISTENER_ADDRESS])
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    char host[64] = "", service[8] = "";

    getsockname(fd, (struct sockaddr *)&address, &len);
    getnameinfo((struct sockaddr *)&address, len, host, sizeof host, service, sizeof service,
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(text, LISTENER_ADDRESS, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, service);
}

void listener_log(int fd, int workers)
{
    char text[LISTENER_ADDRESS];
    struct log_line line = log_begin(LOG_INFO, "listening");

    listener_address(fd, text);
    log_str(&line, "address", text);
    log_int(&line, "workers", workers);
    log_str(&line, "version", WEIR_VERSION);
    log_end(&line);
}
