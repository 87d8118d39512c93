/* halted_sender.c -- a process that is stopped the moment it has sent certain bytes.
 *
 * Preloaded into a gateway, it stands for a machine that has no time for a worker just then: what
 * the worker meant to do after its answer left is not done until the spec lets it go on. */
/* SPDX-License-Identifier: MIT */
#include <dlfcn.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

static const char MARK[] = "halt here";

ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
    ssize_t (*real)(int, const struct msghdr *, int);
    ssize_t sent;

    *(void **)&real = dlsym(RTLD_NEXT, "sendmsg");
    sent = real(fd, message, flags);
    for (size_t i = 0; i < message->msg_iovlen; i++) {
        const struct iovec *piece = &message->msg_iov[i];
        if (memmem(piece->iov_base, piece->iov_len, MARK, sizeof MARK - 1))
            raise(SIGSTOP);
    }
    return sent;
}
