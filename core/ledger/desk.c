/* desk.c -- one packet at a time, and a short list of answers that are not taken yet.
 *
 * While the list is full, a large answer is not kept for who does not read it: who asks for one is
 * told so.  A small one, as each change of a key has, is in the socket at once. */
/* SPDX-License-Identifier: MIT */
#include "desk.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    REQUEST_MAX = 64 * 1024,
    MOST = 32,                /* answers that wait */
    ROOM = 64 * 1024 * 1024,  /* bytes of them, one above that aside */
    SMALL = 32 * 1024,        /* what an empty socket takes at once */
    IDLE_US = 30 * 1000000,   /* for a caller that takes nothing */
    WHOLE_US = 120 * 1000000, /* and for one that takes little by little */
};

struct answer {
    int fd;
    struct buf bytes;
    size_t sent;
    int64_t idle_at_us, over_at_us;
};

struct desk {
    int fd;
    struct desk_owner owner;
    struct answer waiting[MOST];
    int count;
    char packet[REQUEST_MAX];
};

struct desk *desk_new(int fd, const struct desk_owner *owner)
{
    struct desk *desk = mem_new(sizeof *desk);

    desk->fd = fd;
    desk->owner = *owner;
    return desk;
}

static void hang_up(struct answer *answer)
{
    close(answer->fd);
    buf_free(&answer->bytes);
}

void desk_free(struct desk *desk)
{
    if (!desk)
        return;
    for (int i = 0; i < desk->count; i++)
        hang_up(&desk->waiting[i]);
    mem_free(desk);
}

/* ---- answers ---- */

/* As much as the socket takes; true: there is nothing left to do for it. */
static bool send_more(struct answer *answer, int64_t now_us)
{
    ssize_t len;

    while (answer->sent < answer->bytes.len) {
        len = send(answer->fd, answer->bytes.ptr + answer->sent, answer->bytes.len - answer->sent,
                   MSG_NOSIGNAL | MSG_DONTWAIT);
        if (len <= 0)
            return errno != EAGAIN && errno != EINTR; /* else whoever asked has left */
        answer->sent += (size_t)len;
        answer->idle_at_us = now_us + IDLE_US;
    }
    return true;
}

static void send_all(struct desk *desk, int64_t now_us)
{
    for (int i = desk->count; i-- > 0;) {
        struct answer *answer = &desk->waiting[i];
        if (!send_more(answer, now_us) && now_us < answer->idle_at_us &&
            now_us < answer->over_at_us)
            continue;
        hang_up(answer);
        *answer = desk->waiting[--desk->count];
    }
}

static bool has_room(const struct desk *desk)
{
    size_t bytes = 0;

    for (int i = 0; i < desk->count; i++)
        bytes += desk->waiting[i].bytes.len;
    return desk->count < MOST && bytes < ROOM;
}

void desk_unavailable(struct slice request, const char *why, struct buf *out)
{
    static const char accept[] = "\naccept: text/plain\r\n";
    bool as_text = memmem(request.ptr, request.len, accept, sizeof accept - 1) != NULL;
    struct buf body = {0};

    buf_add_format(&body, as_text ? "%s\n" : "{\"error\":\"%s\"}", why);
    buf_add_format(out,
                   "HTTP/1.1 503 Service Unavailable\r\ncontent-type: %s\r\n"
                   "content-length: %zu\r\nconnection: close\r\n\r\n",
                   as_text ? "text/plain" : "application/json", body.len);
    buf_add(out, buf_slice(&body));
    buf_free(&body);
}

/* The connection is the answer's from here on. */
static void answer(struct desk *desk, int fd, struct slice request)
{
    struct answer answer = {.fd = fd};

    desk->owner.answer(desk->owner.arg, request, &answer.bytes);
    int64_t now_us = loop_now_us();
    answer.idle_at_us = now_us + IDLE_US;
    answer.over_at_us = now_us + WHOLE_US;
    bool is_kept = has_room(desk);
    if (!is_kept && answer.bytes.len > SMALL) {
        buf_clear(&answer.bytes);
        desk_unavailable(request,
                         "too many large answers wait to be read: ask for less, or try again",
                         &answer.bytes);
    }
    if (send_more(&answer, now_us) || !is_kept)
        hang_up(&answer);
    else
        desk->waiting[desk->count++] = answer;
}

/* ---- packets ---- */

/* False: the master is gone. */
static bool take_packet(struct desk *desk)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } room;
    struct iovec bytes = {desk->packet, sizeof desk->packet};
    struct msghdr packet = {
        .msg_iov = &bytes, .msg_iovlen = 1, .msg_control = &room, .msg_controllen = sizeof room};
    ssize_t len = recvmsg(desk->fd, &packet, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    int fd;

    if (len <= 0)
        return len < 0 && (errno == EAGAIN || errno == EINTR);
    struct slice said = {desk->packet, (size_t)len};
    struct cmsghdr *header = CMSG_FIRSTHDR(&packet);
    if (!header) {
        desk->owner.hear(desk->owner.arg, said);
    } else if (header->cmsg_type == SCM_RIGHTS) {
        memcpy(&fd, CMSG_DATA(header), sizeof fd);
        answer(desk, fd, said);
    }
    return true;
}

bool desk_turn(struct desk *desk, int patience_ms)
{
    struct pollfd polls[1 + MOST] = {{.fd = desk->fd, .events = POLLIN}};
    bool is_alone = false;

    for (int i = 0; i < desk->count; i++)
        polls[1 + i] = (struct pollfd){.fd = desk->waiting[i].fd, .events = POLLOUT};
    if (poll(polls, 1 + (nfds_t)desk->count, patience_ms) > 0 && polls[0].revents)
        is_alone = !take_packet(desk);
    send_all(desk, loop_now_us());
    return !is_alone;
}
