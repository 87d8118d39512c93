/* remote.c -- one request over the admin socket, its answer printed. */
/* SPDX-License-Identifier: MIT */
#include "remote.h"
#include "buf.h"
#include "exit_code.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char help[] =
    "weir reload [--wait] [--socket PATH] [weir.lua]\n"
    "weir rollback [--socket PATH] [weir.lua]\n"
    "weir status [--socket PATH] [weir.lua]\n"
    "\n"
    "Speak to the gateway that serves this weir.lua (./weir.lua unless named), over its admin\n"
    "socket: data/admin.sock beside the file, where admin.listen does not say otherwise; then\n"
    "--socket names it.\n"
    "  reload    load weir.lua anew, and say what came of it.  A version with errors is refused,\n"
    "            and the one that serves goes on.  While four generations live it waits for one\n"
    "            to end: the command then says so and returns, or waits too with --wait.\n"
    "  rollback  bring back the version before the one that serves, as a new generation\n"
    "  status    print generation and workers\n"
    "Exit codes: 0 done, 1 no gateway answers there, 2 wrong command line, 3 refused: the "
    "problems\n"
    "are printed.\n";

struct order {
    const char *request;
    const char *config_path;
    const char *socket_path;
    char default_path[256];
};

static int usage(const char *command, const char *what)
{
    fprintf(stderr, "weir %s: unexpected '%s'\n\n%s", command, what, help);
    return EXIT_USAGE;
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    if (strlen(path) < sizeof address.sun_path) {
        memcpy(address.sun_path, path, strlen(path) + 1);
        if (connect(fd, (const struct sockaddr *)&address, sizeof address) == 0)
            return fd;
    } else {
        errno = ENAMETOOLONG;
    }
    close(fd);
    return -1;
}

static void set_default(struct order *order)
{
    const char *slash = strrchr(order->config_path, '/');
    int folder = slash ? (int)(slash + 1 - order->config_path) : 0;

    snprintf(order->default_path, sizeof order->default_path, "%.*sdata/admin.sock", folder,
             order->config_path);
    if (!order->socket_path)
        order->socket_path = order->default_path;
}

/* The whole answer; false when it did not come. */
static bool exchange(int fd, const char *request, struct buf *answer)
{
    ssize_t len;

    if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0)
        return false;
    while ((len = recv(fd, buf_reserve(answer, 4096), 4096, 0)) > 0)
        answer->len += (size_t)len;
    buf_add_char(answer, '\0');
    return len == 0 && answer->len > sizeof "HTTP/1.1 200";
}

static int print_answer(const struct buf *answer)
{
    long status = strtol(answer->ptr + sizeof "HTTP/1.1", NULL, 10);
    const char *body = strstr(answer->ptr, "\r\n\r\n");
    bool well = status == 200 || status == 202;

    fputs(body ? body + 4 : "", well ? stdout : stderr);
    return well ? EXIT_OK : status == 409 ? EXIT_CONFIG : EXIT_FAILED;
}

static int run(struct order *order)
{
    struct buf answer = {0}, request = {0};

    set_default(order);
    int fd = connect_to(order->socket_path);
    if (fd < 0) {
        fprintf(stderr, "weir: no gateway answers at %s: %s\n", order->socket_path,
                strerror(errno));
        return EXIT_FAILED;
    }
    buf_add_format(&request, "%s HTTP/1.1\r\nhost: weir\r\naccept: text/plain\r\n", order->request);
    buf_add_text(&request, order->request[0] == 'P' ? "content-length: 0\r\n\r\n" : "\r\n");
    buf_add_char(&request, '\0');
    int status = EXIT_FAILED;
    if (exchange(fd, request.ptr, &answer))
        status = print_answer(&answer);
    else
        fprintf(stderr, "weir: the gateway at %s did not answer\n", order->socket_path);
    close(fd);
    buf_free(&answer);
    buf_free(&request);
    return status;
}

int remote_main(int argc, char **argv)
{
    bool is_reload = strcmp(argv[0], "reload") == 0;
    struct order order = {
        .request = is_reload                          ? "POST /reload"
                   : strcmp(argv[0], "rollback") == 0 ? "POST /rollback"
                                                      : "GET /status",
    };

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, stdout);
            return EXIT_OK;
        }
        if (strcmp(argv[i], "--wait") == 0 && is_reload)
            order.request = "POST /reload?wait";
        else if (strcmp(argv[i], "--socket") == 0 && i + 1 < argc)
            order.socket_path = argv[++i];
        else if (argv[i][0] == '-' || order.config_path)
            return usage(argv[0], argv[i]);
        else
            order.config_path = argv[i];
    }
    if (!order.config_path)
        order.config_path = "weir.lua";
    return run(&order);
}
