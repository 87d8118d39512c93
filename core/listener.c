/* listener.c -- from "host:port" to a socket that listens. */
/* SPDX-License-Identifier: MIT */
#include "listener.h"
#include "log.h"
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

static int bind_one(const struct addrinfo *address)
{
    int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) || listen(fd, BACKLOG)) {
        close(fd);
        return -1;
    }
    return fd;
}

int listener_open(const char *host, int port, struct buf *problem)
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
        fd = bind_one(at);
    freeaddrinfo(found);
    if (fd < 0)
        buf_add_format(problem, "cannot listen on %s:%d: %s", host, port, strerror(errno));
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
