/* secret.c -- credentials: read once, compared in constant time, wiped at the end. */
/* SPDX-License-Identifier: MIT */
#include "secret.h"
#include "leaves/mem.h"
#include <stdio.h>
#include <stdlib.h>

struct secret {
    char *text; /* NULL: not set */
    size_t len;
    char *name;
    char *origin;
};

static struct secret *secret_new(const char *how, const char *name)
{
    struct secret *secret = mem_new(sizeof *secret);
    struct buf origin = {0};

    buf_add_format(&origin, "weir.%s \"%s\"", how, name);
    secret->name = mem_dup(slice_of(name));
    secret->origin = mem_dup(buf_slice(&origin));
    buf_free(&origin);
    return secret;
}

static void secret_set(struct secret *secret, const char *text, size_t len)
{
    while (len && (text[len - 1] == '\n' || text[len - 1] == '\r'))
        len--;
    if (len == 0)
        return;
    secret->text = mem_dup((struct slice){text, len});
    secret->len = len;
}

struct secret *secret_from_env(const char *name)
{
    struct secret *secret = secret_new("env", name);
    const char *text = getenv(name);

    if (text)
        secret_set(secret, text, strlen(text));
    return secret;
}

struct secret *secret_from_file(const char *path, struct slice text)
{
    struct secret *secret = secret_new("file", path);

    secret_set(secret, text.ptr, text.len);
    return secret;
}

void secret_free(struct secret *secret)
{
    if (!secret)
        return;
    if (secret->text)
        explicit_bzero(secret->text, secret->len);
    mem_free(secret->text);
    mem_free(secret->name);
    mem_free(secret->origin);
    mem_free(secret);
}

bool secret_is_set(const struct secret *secret)
{
    return secret->text != NULL;
}

const char *secret_origin(const struct secret *secret)
{
    return secret->origin;
}

const char *secret_name(const struct secret *secret)
{
    return secret->name;
}

struct slice secret_text(const struct secret *secret)
{
    return (struct slice){secret->text, secret->len};
}

bool secret_equals(const struct secret *secret, struct slice given)
{
    unsigned char differs = secret->len != given.len || secret->len == 0;

    for (size_t i = 0; i < given.len; i++) {
        char expected = secret->len ? secret->text[i % secret->len] : 0;
        differs |= (unsigned char)(expected ^ given.ptr[i]);
    }
    return !differs;
}
