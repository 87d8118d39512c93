/* base_url.h -- the URL under which a provider's endpoints are, in its parts. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/err.h"
#include <stdbool.h>

/* An address as libcurl reads it: "http://127.0.0.1:11434/v1". */
struct base_url {
    char *origin; /* "https://api.example:8443"; what connections are told apart by */
    char *host;   /* as it stands in the Host header: the port only when it is not the usual */
    char *path;   /* without slashes at the end */
};

/* False, and nothing to free, when url is none of http or https. */
MUST_CHECK bool base_url_read(const char *url, struct base_url *base_url);
void base_url_free(struct base_url *base_url);
