/* kit.c -- the command lines of weir test and weir explain. */
/* SPDX-License-Identifier: MIT */
#include "kit.h"
#include "admin/remote.h"
#include "gateway.h"
#include "leaves/folder.h"
#include "leaves/mem.h"
#include "lua_sim.h"
#include "parsers/json.h"
#include "specs.h"
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char test_help[] =
    "weir test [-v] [path...]\n"
    "\n"
    "Runs the specs of policies: the files that are named, and every *_spec.lua below the folders\n"
    "that are (without any: below this one).  They are written as for busted, and play requests\n"
    "with require \"weir.sim\": scripted providers and a virtual clock.  Nobody is called.\n"
    "Modules are looked for beside the weir.lua that is nearest above a spec, as it would.\n"
    "\n"
    "  -v, --verbose   name every test, and print the log of those that fail\n"
    "\n"
    "The last line is \"N passed, N failed\".\n"
    "Exit codes: 0 none failed, 1 some failed, 2 wrong command line.\n";

static const char explain_help[] =
    "weir explain MODEL [--body FILE] [--stream] [--cool TARGET=SECONDS]... [--offline] [weir.lua]"
    "\n"
    "\n"
    "Prints what a request for MODEL would try, in which order, with which body and which\n"
    "timeouts, if every attempt failed; and what the client would get then.  Nobody is called.\n"
    "Where a gateway serves this weir.lua, it goes by the version that serves, and what cools, "
    "how\n"
    "fast targets answered and what weir.shared has there now; else by the file alone.  The first\n"
    "line says which.\n"
    "\n"
    "  --body FILE              the request's body (- is standard input); else a short chat\n"
    "  --stream                 ask for a stream\n"
    "  --fail WORD              how attempts fail: overloaded (else), rate_limited, timeout, ...\n"
    "  --cool TARGET=SECONDS    as if this target, or provider, were cooling\n"
    "  --offline                by the file alone\n"
    "  --socket PATH            the gateway's admin.listen, where it is not data/admin.sock\n"
    "\n"
    "Exit codes: 0 printed, 1 no such model or file, 2 wrong command line, 3 errors in the\n"
    "configuration.\n";

enum { DEPTH_MAX = 16 }; /* folders above a spec, in which its weir.lua may be */

/* ---- weir test ---- */

static bool has_config(const char *folder)
{
    char path[PATH_MAX + 16];

    snprintf(path, sizeof path, "%sweir.lua", folder);
    return access(path, R_OK) == 0;
}

/* The folder of the nearest weir.lua above the file, with its slash, if need be above where we
 * are; "" (where we are) when there is none. */
static void find_root(const char *path, char *root, size_t size)
{
    size_t len = folder_len(path);

    snprintf(root, size, "%.*s", (int)len, path);
    while (len && !has_config(root)) {
        for (len--; len && root[len - 1] != '/'; len--)
            ;
        root[len] = '\0';
    }
    if (len || path[0] == '/')
        return;
    for (int up = 0; up < DEPTH_MAX && !has_config(root); up++)
        snprintf(root + up * 3, size - (size_t)up * 3, "../");
    if (!has_config(root))
        root[0] = '\0';
}

static void run_spec(const char *path, const char *verbose, struct specs_counts *counts)
{
    char root[PATH_MAX];
    struct buf said = {0};

    find_root(path, root, sizeof root);
    specs_run(path, root, verbose, counts, &said);
    printf("%.*s", (int)said.len, buf_slice(&said).ptr);
    fflush(stdout);
    buf_free(&said);
}

static bool find_named(struct specs *specs, const char *path)
{
    if (specs_find(specs, path))
        return true;
    fprintf(stderr, "weir test: %s is not there\n", path);
    return false;
}

int kit_test(int argc, char **argv)
{
    struct specs specs = {0};
    struct specs_counts counts = {0};
    const char *verbose = "";
    bool named = false, ok = true;
    for (int i = 1; i < argc && ok; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(test_help, stdout);
            specs_fini(&specs);
            return EXIT_OK;
        }
        if (strcmp(argv[i], "-v") == 0 || strcmp(argv[i], "--verbose") == 0) {
            verbose = "verbose";
        } else if (argv[i][0] == '-') {
            fprintf(stderr, "weir test: no option '%s'\n\n%s", argv[i], test_help);
            ok = false;
        } else {
            named = true;
            ok = find_named(&specs, argv[i]);
        }
    }
    if (ok && !named)
        find_named(&specs, ".");
    for (size_t i = 0; i < specs.count && ok; i++)
        run_spec(specs.paths[i], verbose, &counts);
    if (ok && !specs.count)
        printf("no *_spec.lua is here\n");
    if (ok && counts.pending)
        printf("%d passed, %d failed, %d pending\n", counts.passed, counts.failed, counts.pending);
    else if (ok)
        printf("%d passed, %d failed\n", counts.passed, counts.failed);
    specs_fini(&specs);
    return !ok ? EXIT_USAGE : counts.failed ? EXIT_FAILED : EXIT_OK;
}

/* ---- weir explain ---- */

struct explain {
    const char *model, *body_path, *fail, *config;
    const char *stream; /* "stream", or "" */
    struct buf cooling; /* lines "target=seconds" */
    const char *socket_path;
    bool is_offline;
};

/* Reads an option at *i; false when it is none or lacks its value. */
static bool take_option(struct explain *explain, int argc, char **argv, int *i)
{
    const char *name = argv[*i];

    if (strcmp(name, "--stream") == 0) {
        explain->stream = "stream";
        return true;
    }
    if (strcmp(name, "--offline") == 0) {
        explain->is_offline = true;
        return true;
    }
    if (*i + 1 == argc)
        return false;
    const char *value = argv[++*i];
    if (strcmp(name, "--body") == 0)
        explain->body_path = value;
    else if (strcmp(name, "--fail") == 0)
        explain->fail = value;
    else if (strcmp(name, "--socket") == 0)
        explain->socket_path = value;
    else if (strcmp(name, "--cool") == 0 && strchr(value, '='))
        buf_add_format(&explain->cooling, "%s\n", value);
    else
        return false;
    return true;
}

static bool take_arguments(struct explain *explain, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool is_option = argv[i][0] == '-' && argv[i][1];
        if (is_option) {
            if (!take_option(explain, argc, argv, &i))
                return false;
        } else if (!explain->model) {
            explain->model = argv[i];
        } else if (!explain->config) {
            explain->config = argv[i];
        } else {
            return false;
        }
    }
    return explain->model != NULL;
}

static bool read_all(const char *path, struct buf *text)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    size_t len;

    if (!file) {
        fprintf(stderr, "weir explain: cannot read %s\n", path);
        return false;
    }
    while ((len = fread(buf_reserve(text, 65536), 1, 65536, file)) > 0)
        text->len += len;
    if (file != stdin)
        fclose(file);
    return true;
}

static void add_member(struct buf *json, const char *name, const char *value)
{
    buf_add_format(json, "%s\"%s\":", json->len ? "," : "{", name);
    json_quote(json, slice_of(value ? value : ""));
}

/* By the gateway that runs; -1: none does. */
static int ask_gateway(const struct explain *explain, const char *body)
{
    struct remote remote = {.config_path = explain->config, .socket_path = explain->socket_path};
    struct buf json = {0}, said = {0};

    add_member(&json, "model", explain->model);
    add_member(&json, "body", body);
    add_member(&json, "fail", explain->fail ? explain->fail : "overloaded");
    add_member(&json, "cool", explain->cooling.ptr);
    buf_add_format(&json, ",\"stream\":%s}", explain->stream[0] ? "true" : "false");
    int status = remote_ask(&remote, "POST /explain", buf_slice(&json), &said);
    int result = status == 0     ? -1
                 : status == 200 ? EXIT_OK
                 : status == 409 ? EXIT_CONFIG
                                 : EXIT_FAILED;
    fprintf(result == EXIT_OK ? stdout : stderr, "%.*s", (int)said.len, buf_slice(&said).ptr);
    buf_free(&json);
    buf_free(&said);
    return result;
}

static int run_explain(const struct explain *explain, const char *body)
{
    struct buf said = {0};
    struct lua_sim *lua_sim = lua_sim_new();
    const char *args[] = {
        explain->config ? explain->config : "weir.lua", explain->model,      explain->stream, body,
        explain->fail ? explain->fail : "overloaded",   explain->cooling.ptr};

    int result = lua_sim_call(lua_sim, "weir.explain", "run", args, 6, &said);
    fprintf(result == EXIT_OK ? stdout : stderr, "%s%.*s\n",
            result == EXIT_OK ? "by the configuration alone\n" : "", (int)said.len, said.ptr);
    buf_free(&said);
    lua_sim_free(lua_sim);
    return result < 0 ? EXIT_FAILED : result;
}

int kit_explain(int argc, char **argv)
{
    struct explain explain = {.stream = ""};
    struct buf body = {0};
    int status = EXIT_USAGE;

    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(explain_help, stdout);
        return EXIT_OK;
    }
    if (!take_arguments(&explain, argc, argv)) {
        fprintf(stderr, "weir explain: a model, and what is listed here\n\n%s", explain_help);
    } else if (explain.body_path && !read_all(explain.body_path, &body)) {
        status = EXIT_FAILED;
    } else {
        buf_add_char(&body, '\0');
        buf_add_char(&explain.cooling, '\0');
        status = explain.is_offline ? -1 : ask_gateway(&explain, body.ptr);
        if (status < 0)
            status = run_explain(&explain, body.ptr);
    }
    buf_free(&explain.cooling);
    buf_free(&body);
    return status;
}
