/* remote_ledger.c -- weir keys, teams, usage, requests: words become one request of remote.h's.
 *
 * What the options mean the clerk says; here they only find their place. */
/* SPDX-License-Identifier: MIT */
#include "leaves/exit_code.h"
#include "leaves/nearest.h"
#include "parsers/json.h"
#include "remote.h"
#include "remote_help.h"
#include "remote_list.h"
#include "remote_models.h"
#include <stdarg.h>
#include <stdio.h>

struct words { /* of a command line */
    struct remote remote;
    const char *models; /* of --models; NULL: not said */
    const char *command, *verb, *name, *after;
    struct buf query, body, labels;
    bool as_json, as_csv;
    bool texts;     /* of one request */
    bool has_limit; /* one page, not all of them */
};

/* What is wrong with a command line; the help is long, and would hide it. */
__attribute__((format(printf, 2, 3))) static int usage(const struct words *words,
                                                       const char *format, ...)
{
    va_list args;

    fprintf(stderr, "weir %s: ", words->command);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\nweir %s --help says more\n", words->command);
    return EXIT_USAGE;
}

static bool is(const char *text, const char *other)
{
    return text && strcmp(text, other) == 0;
}

static void add_member(struct buf *out, const char *name, const char *value)
{
    buf_add_char(out, out->len ? ',' : '{');
    json_quote(out, slice_of(name));
    buf_add_char(out, ':');
    json_quote(out, slice_of(value));
}

static void add_option(struct words *words, const char *name, const char *value)
{
    buf_add_char(&words->query, words->query.len ? '&' : '?');
    remote_escape(&words->query, name);
    buf_add_char(&words->query, '=');
    remote_escape(&words->query, value);
    if (is(name, "label")) {
        buf_add_char(&words->labels, words->labels.len ? ',' : '[');
        json_quote(&words->labels, slice_of(value));
    } else {
        add_member(&words->body, name, value);
    }
}

static bool is_accounts(const struct words *words)
{
    return is(words->command, "keys") || is(words->command, "teams");
}

static bool is_flag(struct words *words, const char *word)
{
    bool *flag = is(word, "--json")    ? &words->as_json
                 : is(word, "--csv")   ? &words->as_csv
                 : is(word, "--texts") ? &words->texts
                                       : NULL;

    if (flag)
        *flag = true;
    return flag != NULL;
}

/* --rpm 60 or --rpm=60; gives how many words it is of, 0: it lacks its value. */
static int read_option(struct words *words, const char *word, const char *next)
{
    const char *equals = strchr(word, '=');
    const char *value = equals ? equals + 1 : next;
    char name[64];

    if (!value)
        return 0;
    snprintf(name, sizeof name, "%.*s", equals ? (int)(equals - word) : (int)sizeof name, word);
    if (is(name, "--socket"))
        words->remote.socket_path = value;
    else if (is(name, "--config"))
        words->remote.config_path = value;
    else if (is(name, "--after"))
        words->after = value;
    else
        add_option(words, name + 2, value);
    if (is(name, "--models") && !is(value, "any"))
        words->models = value;
    words->has_limit = words->has_limit || is(name, "--limit");
    return equals ? 1 : 2;
}

static bool read_name(struct words *words, const char *word)
{
    if (is_accounts(words) && !words->verb)
        words->verb = word;
    else if (!words->name && !is(words->command, "usage"))
        words->name = word;
    else
        return false;
    return true;
}

/* EXIT_OK: all of them have found their place. */
static int read_words(struct words *words, int argc, char **argv)
{
    for (int i = 1; i < argc;) {
        int count = 1;
        if (argv[i][0] == '-' && !is_flag(words, argv[i])) {
            if (strncmp(argv[i], "--", 2) != 0)
                return usage(words, "options begin with --, not as '%s'", argv[i]);
            count = read_option(words, argv[i], argv[i + 1]);
            if (count == 0)
                return usage(words, "%s lacks its value", argv[i]);
        } else if (argv[i][0] != '-' && !read_name(words, argv[i])) {
            return usage(words, "'%s' is one word too many", argv[i]);
        }
        i += count;
    }
    return EXIT_OK;
}

/* What others call the verbs. */
static const char *meant_by(const char *verb)
{
    static const char *const verbs[] = {"add", "list", "show", "set", "revoke", "rotate", NULL};
    static const char *const same[][2] = {
        {"create", "add"},    {"new", "add"},          {"ls", "list"},   {"get", "show"},
        {"info", "show"},     {"update", "set"},       {"edit", "set"},  {"change", "set"},
        {"delete", "revoke"}, {"remove", "revoke"},    {"rm", "revoke"}, {"disable", "revoke"},
        {"renew", "rotate"},  {"regenerate", "rotate"}};

    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (is(verb, same[i][0]))
            return same[i][1];
    return nearest(verb, verbs);
}

static int refuse_verb(const struct words *words)
{
    const char *verbs = is(words->command, "keys") ? "add, list, show, set, rotate, revoke"
                                                   : "add, list, show, set";

    if (!words->verb)
        return usage(words, "what is to be done? there are %s", verbs);
    const char *meant = meant_by(words->verb);
    bool is_meant = meant && strstr(verbs, meant);
    return usage(words, "there is no '%s'%s%s%s; there are %s", words->verb,
                 is_meant ? " (did you mean '" : "", is_meant ? meant : "", is_meant ? "'?)" : "",
                 verbs);
}

/* Whether what was said goes together; EXIT_OK: it does. */
static int check_words(struct words *words)
{
    const char *verb = words->verb;
    bool is_list = is(verb, "list"), is_add = is(verb, "add");
    bool is_act = is(verb, "revoke") || is(verb, "rotate");
    bool is_known = is_list || is_add || is(verb, "show") || is(verb, "set");

    /* a team has no key */
    if (is_accounts(words) && !is_known && !(is_act && is(words->command, "keys")))
        return refuse_verb(words);
    if (is_accounts(words) && !is_list && !is_add && !words->name)
        return usage(words, "%s whom? weir %s %s NAME", verb, words->command, verb);
    if (is_list && words->name)
        return usage(words, "list takes no name; weir %s show %s shows one", words->command,
                     words->name);
    if (is(verb, "set") && !words->body.len && !words->labels.len)
        return usage(words, "set what? weir %s set %s --budget 50usd/month", words->command,
                     words->name);
    if (words->texts && (!is(words->command, "requests") || !words->name))
        return usage(words, "--texts goes with the id of a request: weir requests ID --texts");
    if (words->as_csv && words->as_json)
        return usage(words, "--csv or --json, not both");
    if (words->as_csv && (words->name || (is_accounts(words) && !is_list)))
        return usage(words, "--csv goes with lists; --json prints one for programs");
    if (is_add && words->name) {
        add_option(words, "name", words->name);
        words->name = NULL;
    }
    return EXIT_OK;
}

static bool is_whole_list(const struct words *words)
{
    return is(words->verb, "list") && is_accounts(words) && !words->has_limit;
}

/* "POST /keys/alice/revoke" */
static void add_request(struct words *words, struct buf *out)
{
    bool is_act = is(words->verb, "revoke") || is(words->verb, "rotate");
    bool is_post = is_act || is(words->verb, "add") || is(words->verb, "set");

    buf_add_text(out, is_post ? "POST /" : "GET /");
    buf_add_text(out, words->command);
    if (words->name) {
        buf_add_char(out, '/');
        remote_escape(out, words->name);
    }
    if (is_act)
        buf_add_format(out, "/%s", words->verb);
    if (words->texts)
        buf_add_text(out, "/texts");
    if (words->as_csv)
        add_option(words, "format", "csv");
    if (words->after && !is_whole_list(words))
        add_option(words, "after", words->after);
    if (!is_post)
        buf_add(out, buf_slice(&words->query));
    buf_add_char(out, '\0');
}

static int ask(struct words *words, const char *request)
{
    struct buf said = {0};

    if (words->labels.len) {
        buf_add_text(&words->body, words->body.len ? ",\"labels\":" : "{\"labels\":");
        buf_add(&words->body, buf_slice(&words->labels));
        buf_add_char(&words->body, ']');
    }
    buf_add_text(&words->body, words->body.len ? "}" : "{}");
    words->remote.wants_json = words->as_json;
    if (is_whole_list(words))
        return remote_list(&words->remote, request, words->after,
                           words->as_json  ? REMOTE_JSON
                           : words->as_csv ? REMOTE_CSV
                                           : REMOTE_LINES);
    int status = remote_ask(&words->remote, request, buf_slice(&words->body), &said);
    bool well = status == 200 || status == 201;
    if (!status)
        remote_say_nobody(&words->remote);
    fprintf(well ? stdout : stderr, "%s%.*s%s",
            well || !status || words->as_json ? "" : "weir: ", (int)said.len, buf_slice(&said).ptr,
            status && words->as_json ? "\n" : "");
    if (well && words->models && !words->as_json)
        remote_note_models(&words->remote, words->models);
    buf_free(&said);
    return remote_exit(status);
}

int remote_exit(int status)
{
    return status == 200 || status == 201 ? EXIT_OK : status == 400 ? EXIT_USAGE : EXIT_FAILED;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (is(argv[i], "--help") || is(argv[i], "-h"))
            return true;
    return false;
}

int remote_ledger_main(int argc, char **argv)
{
    struct words words = {.command = argv[0]};
    struct buf request = {0};

    if (wants_help(argc, argv)) {
        fputs(remote_help(argv[0]), stdout);
        return EXIT_OK;
    }
    int status = read_words(&words, argc, argv);
    if (status == EXIT_OK)
        status = check_words(&words);
    if (status == EXIT_OK) {
        add_request(&words, &request);
        status = ask(&words, request.ptr);
    }
    buf_free(&request);
    buf_free(&words.query);
    buf_free(&words.body);
    buf_free(&words.labels);
    return status;
}
