/* serving.c -- what a generation needs beside its Lua: origins, TLS, meters. */
/* SPDX-License-Identifier: MIT */
#include "serving.h"
#include "exchange/meter.h"
#include "leaves/folder.h"
#include "leaves/tls.h"
#include "limits/limit.h"
#include "metrics/metrics.h"
#include "policy/generation.h"
#include "policy/policy.h"
#include "policy/secret.h"
#include "policy/sources.h"
#include "provider/origin.h"
#include <string.h>

static void on_freed(void *arg, struct generation *generation)
{
    serving_unload(generation);
}

void serving_unload(struct generation *generation)
{
    const struct config *config = generation_config(generation);

    for (size_t i = 0; i < config->provider_count; i++)
        origin_free(config->providers[i].origin);
    if (config->tls)
        tls_free(config->tls->made);
    meter_unmake(config);
}

static bool make_origins(const char *path, const struct config *config, struct buf *problems)
{
    bool all = true;

    for (size_t i = 0; i < config->provider_count; i++) {
        struct provider *provider = &config->providers[i];
        provider->origin = origin_new(provider->base_url, (const char *const *)provider->headers,
                                      provider->header_count);
        if (!provider->origin)
            buf_add_format(problems, "%s: providers.%s.base_url: no address that can be read: %s\n",
                           path, provider->name, provider->base_url);
        all = all && provider->origin;
    }
    return all;
}

/* ---- TLS ---- */

enum { PEM_MAX = 1024 * 1024, PATH_SIZE = 4096 }; /* bytes */

static bool read_pem(const char *path, const char *member, const char *file,
                     struct sources *sources, struct buf *text, struct buf *problems)
{
    const char *why = sources_read(sources, file, PEM_MAX, true, text);

    if (why)
        buf_add_format(problems, "%s: tls.%s: cannot read %s: %s\n", path, member, file, why);
    return !why;
}

/* Through the sources: a file that changes is a reload, and every worker has the same. */
static bool make_tls(const char *path, const struct config *config, struct sources *sources,
                     struct buf *problems)
{
    char cert[PATH_SIZE], key[PATH_SIZE];
    struct buf cert_text = {0}, key_text = {0}, problem = {0};

    if (!config->tls)
        return true;
    folder_own_path(cert, sizeof cert, path, config->tls->cert, "");
    folder_own_path(key, sizeof key, path, config->tls->key, "");
    if (read_pem(path, "cert", cert, sources, &cert_text, problems) &&
        read_pem(path, "key", key, sources, &key_text, problems))
        config->tls->made = tls_new((struct tls_file){cert, buf_slice(&cert_text)},
                                    (struct tls_file){key, buf_slice(&key_text)}, &problem);
    if (problem.len)
        buf_add_format(problems, "%s: tls: %.*s", path, (int)problem.len, problem.ptr);
    if (key_text.base)
        explicit_bzero(key_text.base, key_text.capacity);
    buf_free(&cert_text);
    buf_free(&key_text);
    buf_free(&problem);
    return config->tls->made != NULL;
}

/* Guessed tokens fail once a connection, so a short one is still a matter of hours. */
static bool check_token(const char *path, const struct config *config, struct buf *problems)
{
    size_t len = config->admin.host ? secret_text(config->admin.token).len : CONFIG_TOKEN_MIN;

    if (len >= CONFIG_TOKEN_MIN && len < CONFIG_TOKEN_SIZE)
        return true;
    buf_add_format(problems, "%s: admin.token: must have %d to %d bytes\n", path, CONFIG_TOKEN_MIN,
                   CONFIG_TOKEN_SIZE - 1);
    return false;
}

struct generation *serving_load(const char *path, unsigned number, struct limits *limits,
                                struct sources *sources, struct buf *problems)
{
    struct generation *generation = generation_load(path, number, limits, sources, problems);

    if (!generation)
        return NULL;
    generation_on_free(generation, on_freed, NULL);
    const struct config *config = generation_config(generation);
    meter_make(config, metrics_tallies(limits_metrics(limits)));
    bool is_sound = make_origins(path, config, problems);
    is_sound = check_token(path, config, problems) && is_sound;
    if (make_tls(path, config, sources, problems) && is_sound)
        return generation;
    generation_free(generation);
    return NULL;
}
