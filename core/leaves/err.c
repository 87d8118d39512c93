/* err.c -- the stable words. */
/* SPDX-License-Identifier: MIT */
#include "err.h"

static const char *const names[ERR_COUNT] = {
    [ERR_OK] = "ok",
    [ERR_SYNTAX] = "syntax",
    [ERR_TOO_LARGE] = "too_large",
    [ERR_TOO_DEEP] = "too_deep",
    [ERR_UTF8] = "utf8",
    [ERR_DUPLICATE] = "duplicate",
    [ERR_TRAILING] = "trailing",
    [ERR_NUL] = "nul",
    [ERR_TYPE] = "type",
    [ERR_TIMEOUT] = "timeout",
    [ERR_REFUSED] = "refused",
    [ERR_RESET] = "reset",
    [ERR_DNS] = "dns",
    [ERR_TLS] = "tls",
    [ERR_TRUNCATED] = "truncated",
    [ERR_BAD_RESPONSE] = "bad_response",
    [ERR_CANCELLED] = "cancelled",
};

const char *err_name(enum err err)
{
    return names[err];
}
