/* mock.c -- the command `weir mock`: usage, listening, the loop. */
/* SPDX-License-Identifier: MIT */
#include "mock.h"
#include "mock_conn.h"
#include "mock_limit.h"
#include "mock_shape.h"
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 16384, ACCEPTS = 256 };

enum { EXIT_LISTEN = 1, EXIT_USAGE = 2 };

static void print_help(void)
{
    struct buf out = {0};

    buf_add_text(&out,
                 "usage: weir mock [options]\n\n"
                 "An OpenAI-compatible provider that fails on demand, for demos, specs and\n"
                 "benchmarks.  A request whose model is named mock:OPTION=VALUE,OPTION=VALUE\n"
                 "(values percent-encoded) sets the same options for itself alone, but for\n"
                 "listen, record, keep and seed.\n\nOptions:\n");
    mock_options_help(&out);
    buf_add_text(&out, "\nFaults, for --fault:\n");
    mock_fault_help(&out);
    buf_add_text(&out,
                 "\n  A PLACE is head, role, finish, usage, done or a number: of chunks in a\n"
                 "  stream, of bytes in a plain answer.  --after PLACE moves any fault.\n"
                 "  A refused connection cannot be played: use a port nobody listens on.\n"
                 "\nShapes of errors, for --shape:\n");
    mock_shape_help(&out);
    buf_add_text(&out, "\nProviders, for --ratelimit:\n");
    mock_limit_help(&out);
    buf_add_text(&out, "\nControl, on the same port:\n"
                       "  GET  /mock/stats          counters\n"
                       "  GET  /mock/wait?NAME=N    the same, once NAME is at least N (or NAME<N)\n"
                       "  GET  /mock/requests       the last 100 requests, with --keep\n"
                       "  POST /mock/go             what stalls goes on\n"
                       "  POST /mock/clear          counters, requests and limits begin anew\n"
                       "\nExit: 0 ended by SIGTERM or SIGINT, 1 cannot listen, 2 bad usage.\n");
    fwrite(out.ptr, 1, out.len, stdout);
    buf_free(&out);
}

/* Splits HOST:PORT at its last colon, in place. */
static bool split_host(char *text, char **host, char **port)
{
    char *colon = strrchr(text, ':');

    if (!colon)
        return false;
    *colon = '\0';
    *port = colon + 1;
    *host = text;
    if (text[0] == '[' && colon[-1] == ']') {
        colon[-1] = '\0';
        *host = text + 1;
    }
    return true;
}

static int listen_on(const struct addrinfo *address)
{
    int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int reason = errno;
    close(fd);
    errno = reason;
    return -1;
}

static int open_listener(const char *where)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found;
    char text[256], *host, *port;

    snprintf(text, sizeof text, "%s", where);
    if (!split_host(text, &host, &port) || getaddrinfo(host, port, &hints, &found) != 0) {
        errno = EINVAL;
        return -1;
    }
    int fd = listen_on(found);
    freeaddrinfo(found);
    return fd;
}

static void print_listening(int fd)
{
    struct sockaddr_storage address;
    socklen_t len = sizeof address;
    char host[NI_MAXHOST], port[NI_MAXSERV];

    getsockname(fd, (struct sockaddr *)&address, &len);
    getnameinfo((struct sockaddr *)&address, len, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    printf("mock listening on %s:%s\n", host, port);
    fflush(stdout);
}

static void on_accept(void *arg, uint32_t events)
{
    struct mock *mock = arg;

    for (int i = 0; i < ACCEPTS; i++) {
        int fd = accept4(mock->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            mock_conn_new(mock, fd);
            continue;
        }
        if ((errno == EMFILE || errno == ENFILE) && mock->conns) {
            mock->full = true; /* until one closes */
            mock_loop_set(&mock->loop, &mock->listener, 0);
        }
        return;
    }
}

static void on_turn(void *arg)
{
    mock_conn_check_held(arg);
}

static void raise_descriptors(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int serve(struct mock *mock)
{
    int fd = open_listener(mock->options.listen);

    if (fd < 0) {
        fprintf(stderr, "mock: cannot listen on %s: %s\n", mock->options.listen, strerror(errno));
        return EXIT_LISTEN;
    }
    raise_descriptors();
    if (!mock_loop_init(&mock->loop) ||
        !mock_stats_init(&mock->stats, mock->options.record, mock->options.keep)) {
        perror("mock");
        close(fd);
        return EXIT_LISTEN;
    }
    mock->listener = (struct mock_watch){fd, on_accept, mock};
    mock->loop.on_turn = on_turn;
    mock->loop.turn_arg = mock;
    mock_loop_add(&mock->loop, &mock->listener, EPOLLIN);
    print_listening(fd);
    mock_loop_start(&mock->loop);
    mock_conn_end_all(mock);
    mock_stats_fini(&mock->stats);
    mock_loop_fini(&mock->loop);
    close(fd);
    return 0;
}

/* Names that are looked up only when a request needs them are checked here. */
static const char *check_names(const struct mock_options *options)
{
    if (options->ratelimit && !mock_limit_known(options->ratelimit))
        return "--ratelimit: no such provider";
    if (options->shape && !mock_shape_get(options->shape))
        return "--shape: no such shape";
    return NULL;
}

int mock_main(int argc, char **argv)
{
    struct mock mock = {0};
    struct buf err = {0};

    mock_options_init(&mock.options);
    bool ok = mock_options_read(&mock.options, argc, argv, &err);
    const char *why = ok ? check_names(&mock.options) : NULL;
    if (why)
        buf_add_text(&err, why);
    if (!ok || why) {
        fprintf(stderr, "mock: %.*s\nTry weir mock --help.\n", (int)err.len, err.ptr);
        buf_free(&err);
        mock_options_fini(&mock.options);
        return EXIT_USAGE;
    }
    if (mock.options.help)
        print_help();
    int code = mock.options.help ? 0 : serve(&mock);
    mock_options_fini(&mock.options);
    return code;
}
