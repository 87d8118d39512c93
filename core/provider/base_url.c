/* base_url.c -- libcurl's own reading of URLs, so that what is shown is where it connects. */
/* SPDX-License-Identifier: MIT */
#include "base_url.h"
#include "leaves/buf.h"
#include "leaves/mem.h"
#include <curl/curl.h>
#include <string.h>

static char *url_part(CURLU *url, CURLUPart part, unsigned flags)
{
    char *text = NULL;

    if (curl_url_get(url, part, &text, flags))
        return mem_dup(SLICE(""));
    char *copy = mem_dup(slice_of(text));
    curl_free(text);
    return copy;
}

bool base_url_read(const char *text, struct base_url *base_url)
{
    CURLU *url = curl_url();

    if (curl_url_set(url, CURLUPART_URL, text, 0)) {
        curl_url_cleanup(url);
        return false;
    }
    char *scheme = url_part(url, CURLUPART_SCHEME, 0), *host = url_part(url, CURLUPART_HOST, 0);
    char *port = url_part(url, CURLUPART_PORT, CURLU_NO_DEFAULT_PORT);
    char *path = url_part(url, CURLUPART_PATH, 0);
    bool is_known = strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0;
    struct buf line = {0};

    for (size_t len = strlen(path); len && path[len - 1] == '/';)
        path[--len] = '\0';
    buf_add_format(&line, "%s%s%s", host, *port ? ":" : "", port);
    base_url->host = mem_dup(buf_slice(&line));
    buf_clear(&line);
    buf_add_format(&line, "%s://%s", scheme, base_url->host);
    base_url->origin = mem_dup(buf_slice(&line));
    base_url->path = path;
    buf_free(&line);
    curl_url_cleanup(url);
    mem_free(scheme), mem_free(host), mem_free(port);
    if (!is_known)
        base_url_free(base_url);
    return is_known;
}

void base_url_free(struct base_url *base_url)
{
    mem_free(base_url->origin);
    mem_free(base_url->host);
    mem_free(base_url->path);
    *base_url = (struct base_url){0};
}
