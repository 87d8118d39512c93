/* url.c -- scheme, authority, the rest (RFC 3986, 3). */
/* SPDX-License-Identifier: MIT */
#include "url.h"

static bool starts_with(struct slice text, const char *start)
{
    size_t len = strlen(start);
    return text.len >= len && memcmp(text.ptr, start, len) == 0;
}

const char *url_split(struct slice text, struct url *url)
{
    size_t at = starts_with(text, "https://") ? 8 : starts_with(text, "http://") ? 7 : 0;
    size_t host = at;

    if (!at)
        return "must begin with \"http://\" or \"https://\"";
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] <= ' ' || text.ptr[i] > '~' || text.ptr[i] == '#')
            return "has a character that no URL has, or a fragment";
    while (at < text.len && !strchr("/?", text.ptr[at]))
        at++;
    if (at == host)
        return "names no host";
    if (memchr(text.ptr + host, '@', at - host))
        return "must not hold a user: set a header";
    url->base = (struct slice){text.ptr, at};
    url->path = (struct slice){text.ptr + at, text.len - at};
    return NULL;
}
