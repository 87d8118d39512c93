/* remote_ledger.c -- weir keys, teams, usage, requests: words become one request of remote.h's.
 *
 * What the options mean the clerk says; here they only find their place. */
/* SPDX-License-Identifier: MIT */
#include "exit_code.h"
#include "json.h"
#include "remote.h"
#include <errno.h>
#include <stdio.h>

static const char help[] =
    "weir keys add --name NAME [--team T] [--models a,b] [--rpm N] [--tpm N] [--concurrent N]\n"
    "              [--budget 50usd/month] [--soft 80%] [--expires 90d] [--store 30d]\n"
    "              [--label env=prod]...\n"
    "weir keys list [--csv] | show NAME | set NAME [options as above] | revoke NAME\n"
    "weir keys rotate NAME [--grace 24h]\n"
    "weir teams add --name NAME [options] | list [--csv] | show NAME | set NAME [options]\n"
    "weir usage [--by key,team,model,target,day] [--since 7d] [--until T] [--csv | --json]\n"
    "weir requests ID [--texts] [--json]\n"
    "weir requests [--key K] [--team T] [--model M] [--target T] [--status N] [--code C]\n"
    "              [--slower 10s] [--since 7d] [--until T] [--limit N] [--before NEXT]\n"
    "              [--csv | --json]\n"
    "\n"
    "Speak to the gateway that serves ./weir.lua, whose keys = \"ledger\", over its admin socket;\n"
    "--config FILE names another weir.lua, --socket PATH the socket.  In a folder without a\n"
    "weir.lua it is the Debian package's gateway.  A key is printed once, when it is made; the\n"
    "gateway keeps only its SHA-256.  A limit is taken away by 'none', a date by 'never', a list\n"
    "of models by 'any'.  Changes are in force within a second.  Times are '30m', '7d' (ago),\n"
    "'today', 'yesterday', '2026-11-20', '14:03' or '2026-11-20T14:03'.\n"
    "Exit codes: 0 done, 1 no gateway answers there or it refused, 2 wrong command line.\n";

struct words { /* of a command line */
    struct remote remote;
    const char *command, *verb, *name;
    struct buf query, body, labels;
    bool as_json, as_csv;
    bool texts; /* of one request */
};

static int usage(const struct words *words, const char *what)
{
    fprintf(stderr, "weir %s: unexpected '%s'\n\n%s", words->command, what, help);
    return EXIT_USAGE;
}

static bool is(const char *text, const char *other)
{
    return text && strcmp(text, other) == 0;
}

/* As a part of a path or a query: RFC 3986. */
static void add_escaped(struct buf *out, const char *text)
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
    add_escaped(&words->query, name);
    buf_add_char(&words->query, '=');
    add_escaped(&words->query, value);
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

/* False: argv[i] is none that is known. */
static bool read_word(struct words *words, int argc, char **argv, int *i)
{
    const char *word = argv[*i];

    if (word[0] != '-' && is_accounts(words) && !words->verb) {
        words->verb = word;
    } else if (word[0] != '-' && !words->name && !is(words->command, "usage")) {
        words->name = word;
    } else if (is(word, "--json")) {
        words->as_json = true;
    } else if (is(word, "--csv")) {
        words->as_csv = true;
    } else if (is(word, "--texts") && is(words->command, "requests")) {
        words->texts = true;
    } else if (strncmp(word, "--", 2) != 0 || *i + 1 >= argc) {
        return false;
    } else {
        const char *value = argv[++*i];
        if (is(word, "--socket"))
            words->remote.socket_path = value;
        else if (is(word, "--config"))
            words->remote.config_path = value;
        else
            add_option(words, word + 2, value);
    }
    return true;
}

/* "POST /keys/alice/revoke"; false: no such command. */
static bool add_request(struct words *words, struct buf *out)
{
    const char *verb = words->verb;
    bool is_add = is(verb, "add"), is_list = is(verb, "list"), is_set = is(verb, "set");
    bool is_act = is(verb, "revoke") || is(verb, "rotate");

    if (is_accounts(words) && !is_add && !is_list && !is_set && !is_act && !is(verb, "show"))
        return false;
    if (is_accounts(words) && (is_add || is_list) != !words->name)
        return false;
    if (is_act && !is(words->command, "keys")) /* a team has no key */
        return false;
    if (words->texts && !words->name)
        return false;
    buf_add_text(out, is_add || is_set || is_act ? "POST /" : "GET /");
    buf_add_text(out, words->command);
    if (words->name) {
        buf_add_char(out, '/');
        add_escaped(out, words->name);
    }
    if (is_act)
        buf_add_format(out, "/%s", verb);
    if (words->texts)
        buf_add_text(out, "/texts");
    if (words->as_csv)
        add_option(words, "format", "csv");
    if (!is_add && !is_set && !is_act)
        buf_add(out, buf_slice(&words->query));
    buf_add_char(out, '\0');
    return true;
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
    int status = remote_ask(&words->remote, request, buf_slice(&words->body), &said);
    bool well = status == 200 || status == 201;
    if (!status)
        fprintf(stderr, "weir: no gateway answers at %s: %s\n", words->remote.socket_path,
                strerror(errno));
    fprintf(well ? stdout : stderr, "%s%.*s%s", well || !status ? "" : "weir: ", (int)said.len,
            buf_slice(&said).ptr, well && words->as_json ? "\n" : "");
    buf_free(&said);
    return well ? EXIT_OK : EXIT_FAILED;
}

int remote_ledger_main(int argc, char **argv)
{
    struct words words = {.command = argv[0]};
    struct buf request = {0};
    int status = -1;

    for (int i = 1; i < argc && status < 0; i++) {
        if (is(argv[i], "--help") || is(argv[i], "-h")) {
            fputs(help, stdout);
            status = EXIT_OK;
        } else if (!read_word(&words, argc, argv, &i)) {
            status = usage(&words, argv[i]);
        }
    }
    if (status < 0 && words.as_csv && words.as_json)
        status = usage(&words, "--csv"); /* beside --json */
    if (status < 0 && !add_request(&words, &request))
        status = usage(&words, words.verb ? words.verb : "");
    if (status < 0)
        status = ask(&words, request.ptr);
    buf_free(&request);
    buf_free(&words.query);
    buf_free(&words.body);
    buf_free(&words.labels);
    return status;
}
