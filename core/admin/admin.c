/* admin.c -- callers at the doors: one request a connection; what cannot be answered yet waits. */
/* SPDX-License-Identifier: MIT */
#include "admin.h"
#include "admin_own.h"
#include "leaves/loop.h"
#include "leaves/mem.h"
#include "master/explain.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORT_CALLERS = ADMIN_CONNECTIONS - 4 }; /* the rest is for who may open the socket */

static const int64_t CROWDED_US = 1000000; /* for a request to come while others wait for a place */

static const struct gate_limits limits = {
    .head = 8192, .headers = 50, .uri = 1024, .body = 1024 * 1024, .bare_posts = true};

struct admin *admin_new(struct doors *doors, struct reload *reload, struct crew *crew)
{
    struct admin *admin = mem_new(sizeof *admin);

    admin->doors = doors;
    admin->reload = reload;
    admin->crew = crew;
    for (int i = 0; i < ADMIN_CONNECTIONS; i++)
        admin->callers[i].fd = -1;
    return admin;
}

void caller_hang_up(struct caller *caller)
{
    if (caller->fd >= 0)
        close(caller->fd);
    buf_free(&caller->bytes);
    buf_free(&caller->out);
    explain_free(caller->explain);
    caller->explain = NULL;
    caller->fd = -1;
}

void admin_free(struct admin *admin)
{
    if (!admin)
        return;
    for (int i = 0; i < ADMIN_CONNECTIONS; i++)
        caller_hang_up(&admin->callers[i]);
    mem_free(admin);
}

/* ---- who is there ---- */

static int count_callers(const struct admin *admin, enum door door)
{
    int count = 0;

    for (int i = 0; i < ADMIN_CONNECTIONS; i++)
        count += admin->callers[i].fd >= 0 && admin->callers[i].door == door;
    return count;
}

static bool has_room(const struct admin *admin, enum door door)
{
    int at_port = count_callers(admin, DOOR_TCP);

    if (door == DOOR_TCP && at_port >= PORT_CALLERS)
        return false;
    return at_port + count_callers(admin, DOOR_UNIX) < ADMIN_CONNECTIONS;
}

/* Whoever has held a place at the port for longest, and has not asked anything yet. */
static struct caller *find_late(struct admin *admin, int64_t now_us)
{
    struct caller *late = NULL;

    for (int i = 0; i < ADMIN_CONNECTIONS; i++) {
        struct caller *caller = &admin->callers[i];
        if (caller->fd < 0 || caller->door != DOOR_TCP || caller->state != READING)
            continue;
        if (now_us < caller->deadline_us - CALLER_US + CROWDED_US)
            continue;
        if (!late || caller->deadline_us < late->deadline_us)
            late = caller;
    }
    return late;
}

static bool may_come(struct admin *admin, enum door door, int64_t now_us)
{
    return has_room(admin, door) || (door == DOOR_TCP && find_late(admin, now_us));
}

int admin_polls(struct admin *admin, struct pollfd *polls)
{
    int count = 0;

    for (int i = 0; i < ADMIN_CONNECTIONS; i++) {
        const struct caller *caller = &admin->callers[i];
        if (caller->fd < 0)
            continue;
        polls[count++] = (struct pollfd){.fd = caller->fd,
                                         .events = caller->state == WRITING ? POLLOUT : POLLIN};
    }
    for (int i = 0; i < DOOR_COUNT; i++) {
        int fd = doors_fd(admin->doors, (enum door)i);
        if (fd >= 0 && may_come(admin, (enum door)i, loop_now_us()))
            polls[count++] = (struct pollfd){.fd = fd, .events = POLLIN};
    }
    return count;
}

static struct caller *find_free(struct admin *admin)
{
    for (int i = 0; i < ADMIN_CONNECTIONS; i++)
        if (admin->callers[i].fd < 0)
            return &admin->callers[i];
    return NULL;
}

static void accept_all(struct admin *admin, enum door door, int64_t now_us)
{
    int listener = doors_fd(admin->doors, door);

    while (listener >= 0 && may_come(admin, door, now_us)) {
        int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        if (!has_room(admin, door))
            caller_hang_up(find_late(admin, now_us));
        *find_free(admin) = (struct caller){
            .fd = fd, .door = door, .gate.limits = &limits, .deadline_us = now_us + CALLER_US};
    }
}

/* ---- what they say ---- */

/* The gate has seen that each line ends with CRLF and begins with a name and a colon. */
struct slice caller_header(const struct caller *caller, const char *name)
{
    struct slice rest = buf_slice(&caller->bytes);
    size_t len = strlen(name);
    const char *end;

    while ((end = memmem(rest.ptr, rest.len, "\r\n", 2)) && end > rest.ptr) {
        size_t line = (size_t)(end - rest.ptr);
        if (line > len && rest.ptr[len] == ':' && strncasecmp(rest.ptr, name, len) == 0)
            return slice_trim((struct slice){rest.ptr + len + 1, line - len - 1});
        rest.ptr += line + 2;
        rest.len -= line + 2;
    }
    return (struct slice){NULL, 0};
}

struct slice caller_body(const struct caller *caller)
{
    struct slice bytes = buf_slice(&caller->bytes);
    const char *blank = memmem(bytes.ptr, bytes.len, "\r\n\r\n", 4);
    size_t head = blank ? (size_t)(blank - bytes.ptr) + 4 : bytes.len;

    return (struct slice){bytes.ptr + head, bytes.len - head};
}

/* In place; the gate has seen that they are sound, and how they end. */
static size_t join_chunks(char *bytes)
{
    char *from = bytes, *to = bytes;
    size_t size;

    while ((size = strtoull(from, &from, 16))) {
        from += 2; /* CRLF, before and behind the data */
        memmove(to, from, size);
        to += size;
        from += size + 2;
    }
    return (size_t)(to - bytes);
}

/* Of what has come the first request alone, its body as it was before it was framed. */
static void take_request(struct caller *caller)
{
    struct slice length = caller_header(caller, "content-length");
    size_t head = caller->bytes.len - caller_body(caller).len, body = 0;

    if (length.ptr)
        body = strtoull(length.ptr, NULL, 10);
    else if (caller_header(caller, "transfer-encoding").ptr)
        body = join_chunks(caller->bytes.ptr + head);
    caller->bytes.len = head + body;
}

static void read_bytes(struct admin *admin, struct caller *caller)
{
    ssize_t len = recv(caller->fd, buf_reserve(&caller->bytes, 4096), 4096, MSG_DONTWAIT);

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len <= 0) {
        caller_hang_up(caller);
        return;
    }
    if (caller->state != READING)
        return;
    caller->bytes.len += (size_t)len;
    struct slice fresh = {caller->bytes.ptr + caller->passed, caller->bytes.len - caller->passed};
    struct gate_verdict verdict = gate_read(&caller->gate, fresh);
    caller->passed += verdict.passed;
    if (verdict.ends) {
        take_request(caller);
        if (admin_lets_in(admin, caller))
            admin_serve(admin, caller);
    } else if (verdict.status) {
        caller_answer_error(caller, verdict.status, verdict.reason);
    }
}

/* ---- the loop ---- */

bool admin_reap(struct admin *admin, pid_t pid, int status)
{
    for (int i = 0; i < ADMIN_CONNECTIONS; i++) {
        struct caller *caller = &admin->callers[i];
        if (caller->fd < 0 || !caller->explain || explain_pid(caller->explain) != pid)
            continue;
        admin_explained(caller, status);
        return true;
    }
    return false;
}

/* Gives when to look at it again. */
static int64_t turn_one(struct admin *admin, struct caller *caller, int64_t now_us)
{
    bool was_reading = caller->state == READING;

    if (caller->state == WRITING)
        caller_write(caller);
    else
        read_bytes(admin, caller);
    if (caller->fd >= 0 && caller->state == WAITING)
        admin_look(admin, caller);
    if (caller->fd >= 0 && now_us >= caller->deadline_us)
        caller_hang_up(caller);
    if (caller->fd < 0)
        return INT64_MAX;
    if (caller->state == WAITING && was_reading)
        return now_us; /* what was asked begins with the next turn */
    return caller->deadline_us;
}

int64_t admin_turn(struct admin *admin, int64_t now_us)
{
    bool is_crowded = doors_fd(admin->doors, DOOR_TCP) >= 0 && !has_room(admin, DOOR_TCP);
    int64_t due_us = is_crowded ? now_us + CROWDED_US / 8 : INT64_MAX;

    accept_all(admin, DOOR_UNIX, now_us);
    accept_all(admin, DOOR_TCP, now_us);
    for (int i = 0; i < ADMIN_CONNECTIONS; i++) {
        if (admin->callers[i].fd < 0)
            continue;
        int64_t next_us = turn_one(admin, &admin->callers[i], now_us);
        due_us = next_us < due_us ? next_us : due_us;
    }
    return due_us;
}
