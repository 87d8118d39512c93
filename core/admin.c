/* admin.c -- one request a connection; what cannot be answered yet waits.
 *
 *   READING ---> WAITING, EXPLAINING ---> WRITING ---> closed
 *      |  [asked a reload; or a child]       ^
 *      +-------------------------------------+  [answer] */
/* SPDX-License-Identifier: MIT */
#include "admin.h"
#include "crew.h"
#include "exit_code.h"
#include "explain.h"
#include "gate.h"
#include "gauges.h"
#include "json.h"
#include "limits_show.h"
#include "loader.h"
#include "log.h"
#include "loop.h"
#include "mem.h"
#include "reload.h"
#include "sources.h"
#include "trial.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static const int64_t REQUEST_US = 5 * 1000000; /* for a request to be whole */

enum connection_state { READING, WAITING, EXPLAINING, WRITING };

struct connection {
    int fd; /* -1: none */
    enum connection_state state;
    struct buf bytes;
    struct gate gate;
    size_t passed;  /* bytes that the gate has let in */
    struct buf out; /* the answer */
    size_t sent;    /* of it */
    int64_t deadline_us;
    unsigned ticket;
    struct explain *explain; /* while one runs for it */
    bool waits_long;         /* also for older generations to end */
    bool wants_text;
};

struct admin {
    char *path;
    int fd; /* -1: no door */
    struct reload *reload;
    struct crew *crew;
    struct connection connections[ADMIN_CONNECTIONS];
};

static const struct gate_limits limits = {
    .head = 8192, .headers = 50, .uri = 256, .body = 1024 * 1024};

/* ---- the door ---- */

static void log_unavailable(const char *path, const char *why)
{
    struct log_line line = log_begin(LOG_WARN, "admin_unavailable");

    log_str(&line, "path", path);
    log_str(&line, "error", why);
    log_end(&line);
}

static void make_folder(const char *path)
{
    const char *slash = strrchr(path, '/');

    if (!slash || slash == path)
        return;
    char *folder = mem_dup((struct slice){path, (size_t)(slash - path)});
    mkdir(folder, 0700); /* where it is there already, all the better */
    mem_free(folder);
}

/* A socket file that nobody listens to is what a killed gateway left. */
static bool is_taken(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool taken = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) == 0;

    if (fd >= 0)
        close(fd);
    return taken;
}

static const char *open_door(struct admin *admin)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat info;

    if (strlen(admin->path) >= sizeof address.sun_path)
        return "the path is too long for a socket";
    memcpy(address.sun_path, admin->path, strlen(admin->path) + 1);
    make_folder(admin->path);
    if (is_taken(&address))
        return "another gateway listens there";
    if (lstat(admin->path, &info) == 0 && S_ISSOCK(info.st_mode))
        unlink(admin->path);
    admin->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    mode_t mask = umask(0177); /* 0600 from its first moment */
    bool bad = admin->fd < 0 ||
               bind(admin->fd, (const struct sockaddr *)&address, sizeof address) ||
               listen(admin->fd, ADMIN_CONNECTIONS);
    umask(mask);
    return bad ? strerror(errno) : NULL;
}

struct admin *admin_new(const char *path, struct reload *reload, struct crew *crew)
{
    struct admin *admin = mem_new(sizeof *admin);

    admin->path = mem_dup(slice_of(path));
    admin->fd = -1;
    admin->reload = reload;
    admin->crew = crew;
    for (int i = 0; i < ADMIN_CONNECTIONS; i++)
        admin->connections[i].fd = -1;
    const char *why = path[0] ? open_door(admin) : NULL;
    if (why) {
        log_unavailable(path, why);
        if (admin->fd >= 0)
            close(admin->fd);
        admin->fd = -1;
    }
    return admin;
}

static void hang_up(struct connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    buf_free(&connection->bytes);
    buf_free(&connection->out);
    explain_free(connection->explain);
    connection->explain = NULL;
    connection->fd = -1;
}

void admin_free(struct admin *admin)
{
    if (!admin)
        return;
    for (int i = 0; i < ADMIN_CONNECTIONS; i++)
        hang_up(&admin->connections[i]);
    if (admin->fd >= 0) {
        unlink(admin->path);
        close(admin->fd);
    }
    mem_free(admin->path);
    mem_free(admin);
}

int admin_polls(const struct admin *admin, struct pollfd *polls)
{
    int count = 0, busy = 0;

    for (int i = 0; i < ADMIN_CONNECTIONS; i++) {
        if (admin->connections[i].fd < 0)
            continue;
        bool writes = admin->connections[i].state == WRITING;
        polls[count++] =
            (struct pollfd){.fd = admin->connections[i].fd, .events = writes ? POLLOUT : POLLIN};
        busy++;
    }
    if (admin->fd >= 0 && busy < ADMIN_CONNECTIONS)
        polls[count++] = (struct pollfd){.fd = admin->fd, .events = POLLIN};
    return count;
}

/* ---- answers ---- */

/* Writes what the socket takes; the rest when it takes more. */
static void write_out(struct connection *connection)
{
    const char *from = connection->out.ptr + connection->sent;
    ssize_t len = send(connection->fd, from, connection->out.len - connection->sent,
                       MSG_NOSIGNAL | MSG_DONTWAIT);

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len > 0)
        connection->sent += (size_t)len;
    if (len < 0 || connection->sent == connection->out.len)
        hang_up(connection); /* it is whole, or whoever asked has left */
}

static void answer_as(struct connection *connection, int status, const char *type,
                      const struct buf *body)
{
    static const char *const words[] = {"OK", "Accepted", "Bad Request", "Not Found", "Conflict"};
    static const int statuses[] = {200, 202, 400, 404, 409};
    const char *word = "Answer";

    for (size_t i = 0; i < sizeof statuses / sizeof *statuses; i++)
        if (statuses[i] == status)
            word = words[i];
    buf_add_format(&connection->out,
                   "HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %zu\r\n"
                   "connection: close\r\n\r\n",
                   status, word, type, body->len);
    buf_add(&connection->out, buf_slice(body));
    connection->state = WRITING;
    connection->deadline_us = loop_now_us() + REQUEST_US;
    write_out(connection);
}

static void answer(struct connection *connection, int status, const struct buf *body)
{
    answer_as(connection, status, connection->wants_text ? "text/plain" : "application/json", body);
}

static void answer_line(struct connection *connection, int status, const char *name,
                        const char *text)
{
    struct buf body = {0};

    if (connection->wants_text) {
        buf_add_format(&body, "%s\n", text);
    } else {
        buf_add_format(&body, "{\"%s\":", name);
        json_quote(&body, slice_of(text));
        buf_add_char(&body, '}');
    }
    answer(connection, status, &body);
    buf_free(&body);
}

static void answer_generation(const struct admin *admin, struct connection *connection)
{
    struct buf body = {0};
    const struct version *tried = trial_version(reload_trial(admin->reload));
    unsigned number = reload_current(admin->reload)->number;

    if (tried && connection->wants_text)
        buf_add_format(&body, "generation %u serves some: a canary\n", tried->number);
    if (tried && !connection->wants_text)
        buf_add_format(&body, "{\"generation\":%u,\"canary\":%u}", number, tried->number);
    else
        buf_add_format(&body,
                       connection->wants_text ? "generation %u serves\n" : "{\"generation\":%u}",
                       number);
    answer(connection, 200, &body);
    buf_free(&body);
}

static void answer_refused(const struct admin *admin, struct connection *connection)
{
    struct buf body = {0};
    struct slice problems = reload_problems(admin->reload);

    if (connection->wants_text) {
        log_redact(&body, problems);
    } else {
        struct buf text = {0};
        log_redact(&text, problems);
        buf_add_format(&body,
                       "{\"generation\":%u,\"refused\":", reload_current(admin->reload)->number);
        json_quote(&body, buf_slice(&text));
        buf_add_char(&body, '}');
        buf_free(&text);
    }
    answer(connection, 409, &body);
    buf_free(&body);
}

/* ---- status ---- */

static void add_versions(const struct admin *admin, struct buf *body, bool as_text)
{
    const struct version *now = reload_current(admin->reload);
    const struct version *before = reload_previous(admin->reload);
    int64_t age_s = (loop_now_us() - now->since_us) / 1000000;

    if (as_text) {
        buf_add_format(body, "generation %u, for %lld s", now->number, (long long)age_s);
        if (before)
            buf_add_format(body, "; before it %u", before->number);
        buf_add_text(body, "\n");
        return;
    }
    buf_add_format(body, "{\"generation\":%u,\"seconds\":%lld,\"previous\":", now->number,
                   (long long)age_s);
    if (before)
        buf_add_format(body, "%u", before->number);
    else
        buf_add_text(body, "null");
}

static void add_canary(const struct admin *admin, struct buf *body, bool as_text)
{
    const struct trial *trial = reload_trial(admin->reload);

    if (!trial_is_on(trial)) {
        buf_add_text(body, as_text ? "" : ",\"canary\":null");
        return;
    }
    buf_add_text(body, as_text ? "canary: " : ",\"canary\":");
    trial_describe(trial, body, !as_text);
    buf_add_text(body, as_text ? "\n" : "");
}

static void add_worker(const struct crew_worker *worker, struct buf *body, bool as_text)
{
    const char *state = !worker->pid         ? "dead"
                        : worker->is_retired ? "draining"
                        : worker->is_ready   ? "ready"
                                             : "starting";

    buf_add_format(body,
                   as_text ? "worker %d: pid %d, %s, generations %u\n"
                           : "{\"worker\":%d,\"pid\":%d,\"state\":\"%s\",\"generations\":%u}",
                   worker->number, (int)worker->pid, state, worker->live);
}

static void answer_status(const struct admin *admin, struct connection *connection)
{
    struct buf body = {0}, refused = {0};
    bool as_text = connection->wants_text;

    log_redact(&refused, reload_problems(admin->reload));
    add_versions(admin, &body, as_text);
    add_canary(admin, &body, as_text);
    buf_add_text(&body, as_text ? "" : ",\"workers\":[");
    for (int i = 0; i < admin->crew->count; i++) {
        buf_add_text(&body, i && !as_text ? "," : "");
        add_worker(admin->crew->list[i], &body, as_text);
    }
    buf_add_text(&body, as_text ? "" : "],\"refused\":");
    if (as_text && refused.len) {
        buf_add_text(&body, "the last reload was refused:\n");
        buf_add(&body, buf_slice(&refused));
    } else if (!as_text && refused.len) {
        json_quote(&body, buf_slice(&refused));
    } else if (!as_text) {
        buf_add_text(&body, "null");
    }
    buf_add_text(&body, as_text ? "" : "}");
    answer(connection, 200, &body);
    buf_free(&body);
    buf_free(&refused);
}

/* ---- explaining ---- */

static void explain(struct admin *admin, struct connection *connection)
{
    struct slice bytes = buf_slice(&connection->bytes);
    const char *blank = memmem(bytes.ptr, bytes.len, "\r\n\r\n", 4);
    size_t head = (size_t)(blank - bytes.ptr) + 4; /* the gate has seen it */

    connection->explain =
        explain_start(admin->crew->start.config_path, reload_current(admin->reload),
                      admin->crew->start.limits, (struct slice){blank + 4, bytes.len - head});
    connection->state = EXPLAINING;
    connection->deadline_us = INT64_MAX;
    if (!connection->explain)
        answer_line(connection, 409, "error", strerror(errno));
}

static void answer_explained(struct connection *connection, int status)
{
    struct buf text = {0}, body = {0};
    int result = explain_finish(connection->explain, status, &text);

    connection->explain = NULL;
    if (connection->wants_text) {
        buf_add(&body, buf_slice(&text));
    } else {
        buf_add_text(&body, "{\"text\":");
        json_quote(&body, buf_slice(&text));
        buf_add_char(&body, '}');
    }
    answer(connection, result == EXIT_OK ? 200 : result == EXIT_CONFIG ? 409 : 404, &body);
    buf_free(&text);
    buf_free(&body);
}

bool admin_reap(struct admin *admin, pid_t pid, int status)
{
    for (int i = 0; i < ADMIN_CONNECTIONS; i++) {
        struct connection *connection = &admin->connections[i];
        if (connection->fd < 0 || !connection->explain || explain_pid(connection->explain) != pid)
            continue;
        answer_explained(connection, status);
        return true;
    }
    return false;
}

static void answer_metrics(const struct admin *admin, struct connection *connection)
{
    struct buf body = {0};

    gauges_write(admin->reload, admin->crew, &body);
    answer_as(connection, 200, "text/plain; version=0.0.4", &body);
    buf_free(&body);
}

static void answer_limits(const struct admin *admin, struct connection *connection)
{
    struct buf body = {0};

    limits_show(admin->crew->start.limits, connection->wants_text, loop_now_us(), &body);
    answer(connection, 200, &body);
    buf_free(&body);
}

/* ---- requests ---- */

static void ask(struct admin *admin, struct connection *connection, enum reload_cause cause)
{
    connection->ticket = reload_ask(admin->reload, cause);
    connection->state = WAITING;
    connection->deadline_us = INT64_MAX;
}

static bool starts(struct slice bytes, const char *with)
{
    size_t len = strlen(with);
    return bytes.len >= len && memcmp(bytes.ptr, with, len) == 0;
}

static void serve(struct admin *admin, struct connection *connection)
{
    struct slice bytes = buf_slice(&connection->bytes);

    connection->wants_text = memmem(bytes.ptr, bytes.len, "\naccept: text/plain\r\n", 21) != NULL;
    connection->waits_long = starts(bytes, "POST /reload?wait ");
    if (starts(bytes, "POST /reload ") || connection->waits_long)
        ask(admin, connection, RELOAD_COMMAND);
    else if (starts(bytes, "POST /rollback "))
        ask(admin, connection, RELOAD_ROLLBACK);
    else if (starts(bytes, "POST /explain "))
        explain(admin, connection);
    else if (starts(bytes, "GET /status "))
        answer_status(admin, connection);
    else if (starts(bytes, "GET /limits ") || starts(bytes, "GET /admin/limits "))
        answer_limits(admin, connection);
    else if (starts(bytes, "GET /metrics "))
        answer_metrics(admin, connection);
    else
        answer_line(connection, 404, "error",
                    "POST /reload, POST /rollback, POST /explain, GET /status, GET /limits, "
                    "GET /metrics");
}

static void read_bytes(struct admin *admin, struct connection *connection)
{
    ssize_t len = recv(connection->fd, buf_reserve(&connection->bytes, 4096), 4096, MSG_DONTWAIT);

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len <= 0) {
        hang_up(connection);
        return;
    }
    if (connection->state != READING)
        return;
    connection->bytes.len += (size_t)len;
    struct slice fresh = {connection->bytes.ptr + connection->passed,
                          connection->bytes.len - connection->passed};
    struct gate_verdict verdict = gate_read(&connection->gate, fresh);
    connection->passed += verdict.passed;
    if (verdict.ends)
        serve(admin, connection);
    else if (verdict.status)
        answer_line(connection, 400, "error", verdict.reason);
}

static void look(struct admin *admin, struct connection *connection)
{
    if (reload_is_done(admin->reload, connection->ticket)) {
        if (reload_is_refused(admin->reload))
            answer_refused(admin, connection);
        else
            answer_generation(admin, connection);
    } else if (reload_is_waiting(admin->reload) && !connection->waits_long) {
        answer_line(connection, 202, "waits",
                    "accepted: it waits until requests of an older generation have ended");
    }
}

/* ---- the loop ---- */

static struct connection *find_free(struct admin *admin)
{
    for (int i = 0; i < ADMIN_CONNECTIONS; i++)
        if (admin->connections[i].fd < 0)
            return &admin->connections[i];
    return NULL;
}

static void accept_all(struct admin *admin, int64_t now_us)
{
    struct connection *connection;

    while (admin->fd >= 0 && (connection = find_free(admin))) {
        int fd = accept4(admin->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        *connection = (struct connection){
            .fd = fd, .gate.limits = &limits, .deadline_us = now_us + REQUEST_US};
    }
}

int64_t admin_turn(struct admin *admin, int64_t now_us)
{
    int64_t due_us = INT64_MAX;

    accept_all(admin, now_us);
    for (int i = 0; i < ADMIN_CONNECTIONS; i++) {
        struct connection *connection = &admin->connections[i];
        bool was_reading = connection->state == READING;
        if (connection->fd >= 0 && connection->state == WRITING)
            write_out(connection);
        else if (connection->fd >= 0)
            read_bytes(admin, connection);
        if (connection->fd >= 0 && connection->state == WAITING)
            look(admin, connection);
        if (connection->fd >= 0 && now_us >= connection->deadline_us)
            hang_up(connection);
        if (connection->fd >= 0 && connection->deadline_us < due_us)
            due_us = connection->deadline_us;
        if (connection->fd >= 0 && connection->state == WAITING && was_reading)
            due_us = now_us; /* what was asked begins with the next turn */
    }
    return due_us;
}
