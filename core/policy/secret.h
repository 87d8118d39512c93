/* secret.h -- a credential that C may use and nobody may print.
 *
 * Lua and logs see where it is from, never what it is.  The text is wiped when
 * the secret is freed. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/err.h"
#include "leaves/slice.h"

struct secret;

enum { SECRET_MAX = 8192 }; /* bytes; a key file is a line, not a document */

/* From an environment variable, or from a file's text (without the newline at the
 * end).  Always gives a secret that the caller owns; one whose source is missing or
 * empty is not set. */
struct secret *secret_from_env(const char *name);
struct secret *secret_from_file(const char *path, struct slice text);
void secret_free(struct secret *secret);

bool secret_is_set(const struct secret *secret);

/* What a person may see, e.g. weir.env "GROQ_API_KEY"; borrowed from the secret. */
const char *secret_origin(const struct secret *secret);

/* The name alone: GROQ_API_KEY, or the file's path; borrowed. */
const char *secret_name(const struct secret *secret);

/* The text, for the line that carries it to a provider; borrowed. */
struct slice secret_text(const struct secret *secret);

/* Compares in time that depends on given's length alone. */
bool secret_equals(const struct secret *secret, struct slice given);
