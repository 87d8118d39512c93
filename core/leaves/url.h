/* url.h -- a whole URL, as its secret says it: where to connect, and what to ask for there. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "slice.h"

struct url {           /* borrowed from the text */
    struct slice base; /* "https://hooks.example:8443" */
    struct slice path; /* "/a?b=c"; may be empty, or begin with '?' */
};

/* NULL, or why it is none, as the rest of a sentence: of http or https, without user and fragment,
 * in characters that a request line may have. */
const char *url_split(struct slice text, struct url *url);
