/* err.h -- the ways in which things fail, one enum for the whole core.
 *
 * A fallible function returns an enum err; the text for people is written
 * once, where the fault is seen.  The words of err_name are stable: policies,
 * logs and clients read them. */
/* SPDX-License-Identifier: MIT */
#pragma once

#define MUST_CHECK __attribute__((warn_unused_result))

enum err {
    ERR_OK,

    /* what was said is not well formed */
    ERR_SYNTAX,
    ERR_TOO_LARGE,
    ERR_TOO_DEEP,
    ERR_UTF8,
    ERR_DUPLICATE,
    ERR_TRAILING, /* something follows the end */
    ERR_NUL,      /* \u0000 in a name or value that we read */
    ERR_TYPE,     /* well formed, but not what belongs there */

    /* how an attempt ends when no answer came of it */
    ERR_TIMEOUT,
    ERR_REFUSED,
    ERR_RESET,
    ERR_DNS,
    ERR_TLS,
    ERR_TRUNCATED,
    ERR_BAD_RESPONSE,
    ERR_CANCELLED,

    ERR_COUNT
};

/* The stable word for err, e.g. "timeout"; never NULL. */
const char *err_name(enum err err);
