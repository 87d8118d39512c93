/* main.c -- the commands. */
/* SPDX-License-Identifier: MIT */
#include "admin/remote.h"
#include "gateway.h"
#include "kit.h"
#include "leaves/nearest.h"
#include "mock.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char general_help[] =
    "weir, a gateway for LLM traffic whose routing is Lua\n"
    "\n"
    "  weir serve [weir.lua]   run the gateway\n"
    "  weir check [weir.lua]   load the configuration and print what it says, or its errors\n"
    "  weir explain MODEL      print what a request for a model would try, calling nobody\n"
    "  weir test [path...]     run the specs of your policies in a simulated world\n"
    "  weir reload [weir.lua]  load it anew in the gateway that serves it; also rollback, status\n"
    "  weir limits [weir.lua]  print what the gateway knows of its targets: quotas, cooldowns\n"
    "  weir keys VERB          virtual keys: add, list, show, set, revoke, rotate; also weir "
    "teams\n"
    "  weir usage, requests    print what was used and spent, and by which requests\n"
    "  weir mock [options]     a provider that answers, streams and fails as it is told\n"
    "  weir version            print the version\n"
    "\n"
    "weir help COMMAND says more.  The file is ./weir.lua unless named.\n"
    "Exit codes: 0 done, 1 failed, 2 wrong command line, 3 errors in the configuration.\n";

static const char serve_help[] =
    "weir serve [weir.lua]\n"
    "\n"
    "Runs the gateway until it is told to stop.  SIGTERM (or Ctrl-C) stops accepting and lets\n"
    "streams finish within the drain time; a second one stops at once, a third kills.  SIGHUP, or "
    "a\n"
    "change of one of its files, reloads the configuration.\n"
    "Exit codes: 0 stopped, 1 cannot listen or a worker failed while stopping, 2 wrong command\n"
    "line, 3 errors in the configuration.\n";

static const char check_help[] =
    "weir check [weir.lua]\n"
    "\n"
    "Loads the configuration as the gateway would, and prints its providers, models and the\n"
    "targets of their policies; or every error, with the file, the line or the member's path and\n"
    "a suggestion.  Nothing is started and nobody is called.\n"
    "Exit codes: 0 no errors, 2 wrong command line, 3 errors in the configuration.\n";

static int wants_help(int argc, char **argv)
{
    return argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
}

/* argv[0] is the command; what follows is at most one file. */
static int with_config(int argc, char **argv, const char *help, int (*run)(const char *path))
{
    if (wants_help(argc, argv)) {
        fputs(help, stdout);
        return EXIT_OK;
    }
    if (argc > 2 || (argc == 2 && argv[1][0] == '-')) {
        fprintf(stderr, "weir %s: one file at most, not '%s'\n\n%s", argv[0],
                argv[argc > 2 ? 2 : 1], help);
        return EXIT_USAGE;
    }
    return run(argc == 2 ? argv[1] : "weir.lua");
}

static int refuse(const char *word)
{
    static const char *const commands[] = {"serve",    "check",    "explain", "test",    "reload",
                                           "rollback", "status",   "limits",  "keys",    "teams",
                                           "usage",    "requests", "mock",    "version", NULL};
    const char *meant = nearest(word, commands);

    fprintf(stderr, "weir: no command is called '%s'%s%s%s\nweir --help lists them\n", word,
            meant ? " (did you mean '" : "", meant ? meant : "", meant ? "'?)" : "");
    return EXIT_USAGE;
}

/* argv[0] is the command. */
static int run(int argc, char **argv)
{
    if (strcmp(argv[0], "serve") == 0)
        return with_config(argc, argv, serve_help, gateway_serve);
    if (strcmp(argv[0], "check") == 0)
        return with_config(argc, argv, check_help, gateway_check);
    if (strcmp(argv[0], "explain") == 0)
        return kit_explain(argc, argv);
    if (strcmp(argv[0], "test") == 0)
        return kit_test(argc, argv);
    if (strcmp(argv[0], "reload") == 0 || strcmp(argv[0], "rollback") == 0 ||
        strcmp(argv[0], "status") == 0 || strcmp(argv[0], "limits") == 0)
        return remote_main(argc, argv);
    if (strcmp(argv[0], "keys") == 0 || strcmp(argv[0], "teams") == 0 ||
        strcmp(argv[0], "usage") == 0 || strcmp(argv[0], "requests") == 0)
        return remote_ledger_main(argc, argv);
    if (strcmp(argv[0], "mock") == 0)
        return mock_main(argc, argv);
    if (strcmp(argv[0], "version") == 0 || strcmp(argv[0], "--version") == 0) {
        puts("weir " WEIR_VERSION);
        return EXIT_OK;
    }
    return refuse(argv[0]);
}

static int is_help(const char *word)
{
    return strcmp(word, "help") == 0 || strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* A key is printed once: that nobody has it must not look like success. */
static int end(int status)
{
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "weir: standard output cannot be written%s%s\n", errno ? ": " : "",
            errno ? strerror(errno) : "");
    return status == EXIT_OK ? EXIT_FAILED : status;
}

int main(int argc, char **argv)
{
    char help[] = "--help";

    if (argc < 2) {
        fputs(general_help, stderr);
        return EXIT_USAGE;
    }
    if (!is_help(argv[1]))
        return end(run(argc - 1, argv + 1));
    if (argc > 2 && !is_help(argv[2])) /* weir help keys: weir keys --help */
        return end(run(2, (char *[]){argv[2], help, NULL}));
    fputs(general_help, stdout);
    return end(EXIT_OK);
}
