/* remote.c -- one request over the admin socket, its answer printed. */
/* SPDX-License-Identifier: MIT */
#include "remote.h"
#include "leaves/buf.h"
#include "leaves/exit_code.h"
#include "leaves/folder.h"
#include "parsers/http1.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char help[] =
    "weir reload [--wait] [--json] [--socket PATH] [weir.lua]\n"
    "weir rollback [--json] [--socket PATH] [weir.lua]\n"
    "weir status [--json] [--socket PATH] [weir.lua]\n"
    "weir limits [--json] [--socket PATH] [weir.lua]\n"
    "\n"
    "Speak to the gateway that serves this weir.lua (./weir.lua unless named), over its admin\n"
    "socket: data/admin.sock beside the file, where admin.listen does not say otherwise; then\n"
    "--socket names it.  In a folder without a weir.lua it is the Debian package's,\n"
    "/run/weir/admin.sock.\n"
    "  reload    load weir.lua anew, and say what came of it.  A version with errors is refused,\n"
    "            and the one that serves goes on.  While four generations live it waits for one\n"
    "            to end: the command then says so and returns, or waits too with --wait.\n"
    "  rollback  bring back the version before the one that serves, as a new generation\n"
    "  status    print generation and workers\n"
    "  limits    print what is known of targets, for each key: available, tracking (a quota is\n"
    "            known) or exhausted; cooldowns and what is left of quotas\n"
    "--json prints what the admin side answers, docs/openapi.yaml.\n"
    "Exit codes: 0 done, 1 no gateway answers there, 2 wrong command line, 3 refused: the "
    "problems\n"
    "are printed.\n";

static int usage(const char *command, const char *what)
{
    fprintf(stderr, "weir %s: unexpected '%s'\nweir %s --help says more\n", command, what, command);
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

/* Beside weir.lua; of an operator who is nowhere near one, the packaged gateway's: weir.service. */
static void set_default(struct remote *remote)
{
    bool is_away = !remote->config_path && access("weir.lua", F_OK) && !access("/run/weir", F_OK);
    const char *path = remote->config_path ? remote->config_path : "weir.lua";

    folder_own_path(remote->default_path, sizeof remote->default_path, path,
                    is_away ? "/run/weir/admin.sock" : "data/admin.sock", "");
    if (!remote->socket_path)
        remote->socket_path = remote->default_path;
}

static bool send_all(int fd, struct slice bytes)
{
    while (bytes.len) {
        ssize_t len = send(fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (len < 0)
            return false;
        bytes.ptr += len;
        bytes.len -= (size_t)len;
    }
    return true;
}

/* The status of the whole answer, whose body is added to out; 0: it did not come, errno says why.
 */
static int read_answer(struct remote *remote, int fd, struct buf *out)
{
    struct http1 http1 = {0};
    struct slice name, value;
    char bytes[16 * 1024];
    const char *why;
    ssize_t len = 1;

    remote->next[0] = '\0';
    while (http1.state != HTTP1_DONE && (len = recv(fd, bytes, sizeof bytes, 0)) > 0)
        if (http1_feed(&http1, (struct slice){bytes, (size_t)len}, out, &why))
            break;
    if (len >= 0)
        errno = ECONNRESET; /* unless it is whole */
    bool is_whole = http1.state == HTTP1_DONE || (len == 0 && !http1_finish(&http1, &why));
    int status = is_whole ? http1.status : 0;
    for (size_t at = 0; http1_next_header(&http1, &at, &name, &value);)
        if (slice_is(name, "x-weir-next"))
            snprintf(remote->next, sizeof remote->next, "%.*s", (int)value.len, value.ptr);
    http1_free(&http1);
    if (!is_whole)
        buf_clear(out);
    return status;
}

void remote_escape(struct buf *out, const char *text)
{
    for (; *text; text++) {
        bool is_plain = (*text >= 'a' && *text <= 'z') || (*text >= 'A' && *text <= 'Z') ||
                        (*text >= '0' && *text <= '9') || strchr("-._~,", *text);
        if (is_plain)
            buf_add_char(out, *text);
        else
            buf_add_format(out, "%%%02X", (unsigned char)*text);
    }
}

int remote_ask(struct remote *remote, const char *request, struct slice body, struct buf *out)
{
    struct buf bytes = {0};
    int status = 0;

    set_default(remote);
    int fd = connect_to(remote->socket_path);
    if (fd < 0)
        return 0;
    buf_add_format(&bytes, "%s HTTP/1.1\r\nhost: weir\r\naccept: %s\r\n", request,
                   remote->wants_json ? "application/json" : "text/plain");
    if (request[0] == 'P')
        buf_add_format(&bytes, "content-length: %zu\r\n", body.len);
    buf_add_text(&bytes, "\r\n");
    buf_add(&bytes, body);
    if (send_all(fd, buf_slice(&bytes)))
        status = read_answer(remote, fd, out);
    close(fd);
    buf_free(&bytes);
    return status;
}

void remote_say_nobody(const struct remote *remote)
{
    int error = errno;

    if (error == ECONNRESET ||
        error == EPIPE) { /* somebody is there: it took the question, or began to answer */
        fprintf(stderr,
                "weir: the answer from %s broke off: the gateway, or its ledger's process, ended\n"
                "meanwhile; look whether what you asked for was done, and try again\n",
                remote->socket_path);
        return;
    }
    fprintf(stderr, "weir: no gateway answers at %s: %s\n", remote->socket_path, strerror(error));
    if (remote->config_path && access(remote->config_path, F_OK))
        fprintf(stderr, "there is no file %s\n", remote->config_path);
    else if (error == EACCES)
        fputs("the socket is its owner's: ask as the user that the gateway runs as, or with sudo\n",
              stderr);
    else
        fputs("does one run? --config FILE names its weir.lua, --socket PATH its admin.listen\n",
              stderr);
}

static int run(struct remote *remote, const char *request)
{
    struct buf said = {0};
    int status = remote_ask(remote, request, (struct slice){"", 0}, &said);
    bool well = status == 200 || status == 202;

    if (!status)
        remote_say_nobody(remote);
    fprintf(well ? stdout : stderr, "%.*s%s", (int)said.len, buf_slice(&said).ptr,
            status && remote->wants_json ? "\n" : "");
    buf_free(&said);
    return well ? EXIT_OK : status == 409 ? EXIT_CONFIG : EXIT_FAILED;
}

int remote_main(int argc, char **argv)
{
    bool is_reload = strcmp(argv[0], "reload") == 0;
    struct remote remote = {0};
    const char *request = is_reload                          ? "POST /reload"
                          : strcmp(argv[0], "rollback") == 0 ? "POST /rollback"
                          : strcmp(argv[0], "limits") == 0   ? "GET /limits"
                                                             : "GET /status";

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help, stdout);
            return EXIT_OK;
        }
        if (strcmp(argv[i], "--wait") == 0 && is_reload)
            request = "POST /reload?wait";
        else if (strcmp(argv[i], "--socket") == 0 && i + 1 < argc)
            remote.socket_path = argv[++i];
        else if (strcmp(argv[i], "--config") == 0 && i + 1 < argc && !remote.config_path)
            remote.config_path = argv[++i];
        else if (strcmp(argv[i], "--json") == 0)
            remote.wants_json = true;
        else if (argv[i][0] == '-' || remote.config_path)
            return usage(argv[0], argv[i]);
        else
            remote.config_path = argv[i];
    }
    return run(&remote, request);
}
