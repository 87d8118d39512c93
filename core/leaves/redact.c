/* redact.c -- the prefixes of providers' keys, and bearer tokens. */
/* SPDX-License-Identifier: MIT */
#include "redact.h"
#include <strings.h>

enum {
    SECRET_MIN = 8,   /* token characters after a key's prefix that make it a key */
    SECRET_SHOWN = 4, /* characters of a key that stay readable */
};

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* What keys and bearer tokens are made of; '*' because providers that quote a
 * key in an error star out only its middle. */
static bool is_token(char c)
{
    return is_alnum(c) || (c && strchr("-_.~+/=*", c));
}

/* A key does not begin inside a word ("task-force"), but it may follow "%3D". */
static bool begins_word(struct slice text, size_t at)
{
    return at == 0 || !is_alnum(text.ptr[at - 1]) || (at >= 3 && text.ptr[at - 3] == '%');
}

/* A token's last dot ends the sentence that it is in. */
static size_t token_end(struct slice text, size_t start)
{
    size_t at = start;

    while (at < text.len && is_token(text.ptr[at]))
        at++;
    while (at > start && text.ptr[at - 1] == '.')
        at--;
    return at;
}

/* "Bearer" in any case, blanks, a token of any length. */
static bool match_bearer(struct slice text, size_t at, struct redact_span *found)
{
    static const char word[] = "bearer";
    size_t token = at + sizeof word - 1;

    if (text.len - at < sizeof word || strncasecmp(text.ptr + at, word, sizeof word - 1) != 0)
        return false;
    while (token < text.len && (text.ptr[token] == ' ' || text.ptr[token] == '\t'))
        token++;
    *found = (struct redact_span){token, token_end(text, token)};
    return token > at + sizeof word - 1 && found->end > token;
}

static bool match_key(struct slice text, size_t at, struct redact_span *found)
{
    static const char *const prefixes[] = {
        "sk-", "wk-", "gsk_", "csk-", "AIza", "xai-", "key-", "nvapi-", "hf_",
    };

    for (size_t i = 0; i < sizeof prefixes / sizeof *prefixes; i++) {
        size_t len = strlen(prefixes[i]);
        if (text.len - at < len + SECRET_MIN || memcmp(text.ptr + at, prefixes[i], len) != 0)
            continue;
        size_t end = token_end(text, at + len);
        *found = (struct redact_span){at + (len < SECRET_SHOWN ? len : SECRET_SHOWN), end};
        return end - at - len >= SECRET_MIN;
    }
    return false;
}

bool redact_find(struct slice text, size_t from, size_t limit, struct redact_span *found)
{
    static const bool starts[256] = {
        ['s'] = true, ['w'] = true, ['g'] = true, ['c'] = true, ['A'] = true, ['x'] = true,
        ['k'] = true, ['n'] = true, ['h'] = true, ['b'] = true, ['B'] = true};

    for (size_t at = from; at < limit; at++) {
        unsigned char c = (unsigned char)text.ptr[at];
        if (!starts[c] || !begins_word(text, at))
            continue;
        if (match_key(text, at, found) || match_bearer(text, at, found))
            return true;
    }
    return false;
}
