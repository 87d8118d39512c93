/* control.c -- packets over a socket pair, descriptors beside them. */
/* SPDX-License-Identifier: MIT */
#include "control.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union room { /* for descriptors, aligned as cmsg(3) wants it */
    struct cmsghdr header;
    char bytes[CMSG_SPACE(CONTROL_FDS * sizeof(int))];
};

bool control_open(int fds[2])
{
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) == 0;
}

bool control_send(int fd, const struct control_message *message)
{
    union room room = {0};
    struct iovec bytes = {(void *)message, sizeof *message};
    struct msghdr packet = {.msg_iov = &bytes, .msg_iovlen = 1};
    size_t len = (size_t)message->fd_count * sizeof(int);

    if (len) {
        packet.msg_control = &room;
        packet.msg_controllen = CMSG_SPACE(len);
        struct cmsghdr *header = CMSG_FIRSTHDR(&packet);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(len);
        memcpy(CMSG_DATA(header), message->fds, len);
    }
    return sendmsg(fd, &packet, MSG_NOSIGNAL) == (ssize_t)sizeof *message;
}

static void take_fds(struct msghdr *packet, struct control_message *message)
{
    struct cmsghdr *header = CMSG_FIRSTHDR(packet);

    message->fd_count = 0;
    if (!header || header->cmsg_type != SCM_RIGHTS)
        return;
    message->fd_count = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    memcpy(message->fds, CMSG_DATA(header), (size_t)message->fd_count * sizeof(int));
}

enum control_read control_receive(int fd, struct control_message *message)
{
    union room room;
    struct iovec bytes = {message, sizeof *message};
    struct msghdr packet = {
        .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof room};
    ssize_t len = recvmsg(fd, &packet, MSG_CMSG_CLOEXEC);

    if (len < 0)
        return errno == EAGAIN || errno == EINTR ? CONTROL_NOTHING : CONTROL_CLOSED;
    if (len != (ssize_t)sizeof *message)
        return CONTROL_CLOSED;
    take_fds(&packet, message);
    message->text[CONTROL_TEXT - 1] = '\0';
    return CONTROL_MESSAGE;
}

void control_close(struct control_message *message)
{
    for (int i = 0; i < message->fd_count; i++)
        close(message->fds[i]);
    message->fd_count = 0;
}
