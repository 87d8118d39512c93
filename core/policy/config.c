/* config.c -- from the settings table to structs. */
/* SPDX-License-Identifier: MIT */
#include "config.h"
#include "leaves/mem.h"
#include "leaves/url.h"
#include "secret.h"
#include <lauxlib.h>
#include <lua.h>

#include "lua_core.h"

static char *text_of(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    const char *text = lua_tostring(L, -1);
    char *copy = text ? mem_dup(slice_of(text)) : NULL;
    lua_pop(L, 1);
    return copy;
}

static bool flag_of(lua_State *L, const char *name)
{
    lua_getfield(L, -1, name);
    bool flag = lua_toboolean(L, -1);
    lua_pop(L, 1);
    return flag;
}

static bool text_is(lua_State *L, const char *name, const char *text)
{
    char *said = text_of(L, name);
    bool is = said && strcmp(said, text) == 0;
    mem_free(said);
    return is;
}

static struct timeouts timeouts_of(lua_State *L)
{
    struct timeouts timeouts = {0};

    lua_getfield(L, -1, "timeout");
    if (lua_istable(L, -1)) {
        timeouts.connect_ms = (int64_t)(lua_number_in(L, -1, "connect", 0) * 1000);
        timeouts.first_ms = (int64_t)(lua_number_in(L, -1, "first", 0) * 1000);
        timeouts.idle_ms = (int64_t)(lua_number_in(L, -1, "idle", 0) * 1000);
        timeouts.total_ms = (int64_t)(lua_number_in(L, -1, "total", 0) * 1000);
    }
    lua_pop(L, 1);
    return timeouts;
}

/* A value on top of the stack that is text or a secret. */
static void add_value(lua_State *L, struct buf *out)
{
    struct secret *secret = lua_weir_secret(L, -1);

    if (secret)
        buf_add(out, secret_text(secret));
    else
        buf_add_text(out, lua_tostring(L, -1) ? lua_tostring(L, -1) : "");
}

static char *take_line(struct buf *line)
{
    char *text = mem_dup(buf_slice(line));

    explicit_bzero(line->base, line->capacity);
    buf_free(line);
    return text;
}

static void add_line(char ***list, size_t *count, struct buf *line)
{
    *list = mem_resize(*list, (*count + 1) * sizeof **list);
    (*list)[(*count)++] = take_line(line);
}

/* [provider, keys] are on top: what carries the i-th key, as a line of every request or apart. */
static void read_key(lua_State *L, struct provider *provider, size_t i, bool is_only)
{
    struct buf line = {0};

    lua_getfield(L, -2, "auth"); /* [provider, keys, auth] */
    lua_getfield(L, -1, "header");
    lua_getfield(L, -2, "prefix"); /* [provider, keys, auth, header, prefix] */
    const char *header = lua_tostring(L, -2), *prefix = lua_tostring(L, -1);
    if (is_only)
        buf_add_format(&line, "%s: ", header);
    buf_add_text(&line, prefix ? prefix : "");
    lua_rawgeti(L, -4, (int)i + 1);
    add_value(L, &line);
    if (is_only) {
        add_line(&provider->headers, &provider->header_count, &line);
    } else {
        provider->keys[i] =
            (struct provider_key){.name = mem_dup(slice_of(header)), .value = take_line(&line)};
    }
    lua_pop(L, 4);
}

/* The provider's table is on top: [provider]. */
static void read_keys_of(lua_State *L, struct provider *provider)
{
    lua_getfield(L, -1, "keys"); /* [provider, keys] */
    size_t count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    provider->key_count = count > 1 ? count : 1;
    if (count > 1)
        provider->keys = mem_new(count * sizeof *provider->keys);
    for (size_t i = 0; i < count; i++)
        read_key(L, provider, i, count == 1);
    lua_pop(L, 1);
}

static void read_limits(lua_State *L, struct provider *provider)
{
    lua_getfield(L, -1, "limits");
    for (int i = 0; lua_istable(L, -1) && i < WINDOW_COUNT; i++)
        provider->limits.windows[i] =
            (int64_t)lua_number_in(L, -1, quota_name(lane_dimension((enum lane_window)i)), 0);
    if (lua_istable(L, -1))
        provider->limits.concurrent = (int32_t)lua_number_in(L, -1, "concurrent", 0);
    lua_pop(L, 1);
}

/* The headers of the table on top, as lines behind those that are there. */
static void read_headers(lua_State *L, char ***lines, size_t *line_count)
{
    struct buf line = {0};

    lua_getfield(L, -1, "headers"); /* [table, headers] */
    size_t count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    for (size_t i = 1; i <= count; i++) {
        lua_rawgeti(L, -1, (int)i); /* [table, headers, header] */
        lua_getfield(L, -1, "name");
        buf_add_format(&line, "%s: ", lua_tostring(L, -1));
        lua_pop(L, 1);
        lua_getfield(L, -1, "value");
        add_value(L, &line);
        add_line(lines, line_count, &line);
        lua_pop(L, 2);
    }
    lua_pop(L, 1);
}

/* A list of texts; of none, an empty one. */
static char **texts_of(lua_State *L, const char *name, size_t *count)
{
    lua_getfield(L, -1, name);
    *count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    char **texts = mem_new(*count * sizeof *texts);
    for (size_t i = 0; i < *count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        texts[i] = mem_dup(slice_of(lua_tostring(L, -1)));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return texts;
}

static void free_texts(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mem_free(texts[i]);
    mem_free(texts);
}

static void read_provider(lua_State *L, struct provider *provider)
{
    provider->name = text_of(L, "name");
    provider->type = text_of(L, "type");
    provider->base_url = text_of(L, "base_url");
    provider->timeout = timeouts_of(L);
    provider->done_required = text_is(L, "done", "required");
    provider->reports_cost = flag_of(L, "reports_cost");
    provider->include_usage = flag_of(L, "include_usage");
    read_keys_of(L, provider);
    read_headers(L, &provider->headers, &provider->header_count);
    read_limits(L, provider);
    provider->drop = texts_of(L, "drop", &provider->drop_count);
    provider->quota_headers = texts_of(L, "quota_headers", &provider->quota_header_count);
    lua_pushvalue(L, -1);
    provider->settings_ref = luaL_ref(L, LUA_REGISTRYINDEX);
}

static void read_providers(lua_State *L, struct config *config)
{
    lua_getfield(L, -1, "providers");
    config->provider_count = lua_objlen(L, -1);
    config->providers = mem_new(config->provider_count * sizeof *config->providers);
    for (size_t i = 0; i < config->provider_count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        read_provider(L, &config->providers[i]);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_models(lua_State *L, struct config *config)
{
    lua_getfield(L, -1, "models");
    config->model_count = lua_objlen(L, -1);
    config->models = mem_new((config->model_count + 1) * sizeof *config->models);
    for (size_t i = 0; i < config->model_count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        config->models[i].name = text_of(L, "name");
        lua_getfield(L, -1, "policy");
        config->models[i].policy_ref = luaL_ref(L, LUA_REGISTRYINDEX);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);

    lua_getfield(L, -1, "fallback");
    config->fallback_ref = LUA_NOREF;
    if (lua_isfunction(L, -1))
        config->fallback_ref = luaL_ref(L, LUA_REGISTRYINDEX);
    else
        lua_pop(L, 1);
}

/* [ledger] */
static void read_webhook(lua_State *L, struct config_webhook *webhook)
{
    struct buf text = {0};
    struct url url;

    lua_getfield(L, -1, "webhook"); /* [ledger, webhook] */
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "url");
        add_value(L, &text);
        lua_pop(L, 1);
        webhook->is_private = flag_of(L, "private");
        read_headers(L, &webhook->headers, &webhook->header_count);
    }
    if (text.len && !url_split(buf_slice(&text), &url)) {
        webhook->base = mem_dup(url.base);
        webhook->path = mem_dup(url.path);
    }
    if (text.capacity)
        explicit_bzero(text.base, text.capacity);
    buf_free(&text);
    lua_pop(L, 1);
}

static void read_keys(lua_State *L, struct config *config)
{
    lua_getfield(L, -1, "keys");
    config->key_count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    config->keys = mem_new(config->key_count * sizeof *config->keys);
    for (size_t i = 0; i < config->key_count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        config->keys[i] = lua_weir_secret(L, -1);
        luaL_ref(L, LUA_REGISTRYINDEX); /* the userdata lives as long as its state */
    }
    config->has_ledger = lua_type(L, -1) == LUA_TSTRING; /* "ledger" */
    lua_pop(L, 1);
    lua_getfield(L, -1, "ledger");
    config->timezone = text_of(L, "timezone");
    config->answer_tokens = (int64_t)lua_number_in(L, -1, "answer_tokens", 0);
    lua_getfield(L, -1, "store");
    if (lua_istable(L, -1)) {
        config->store_s = (int64_t)lua_number_in(L, -1, "keep", 0);
        config->store_most = (size_t)lua_number_in(L, -1, "most", 0);
        config->store_room = (int64_t)lua_number_in(L, -1, "room", 0);
    }
    lua_pop(L, 1);
    read_webhook(L, &config->webhook);
    lua_pop(L, 1);
}

static void read_log(lua_State *L, struct config *config)
{
    static const char *const levels[] = {"debug", "info", "warn", "error"};

    lua_getfield(L, -1, "log");
    config->log_level = LOG_INFO;
    for (int i = 0; i < 4; i++)
        if (text_is(L, "level", levels[i]))
            config->log_level = (enum log_level)i;
    config->log_format = text_is(L, "format", "json") ? LOG_JSON : LOG_LOGFMT;
    config->log_file = text_of(L, "file");
    lua_pop(L, 1);
}

/* [policy] */
static void read_canary(lua_State *L, struct canary_rule *rule)
{
    lua_getfield(L, -1, "canary");
    if (lua_istable(L, -1)) {
        rule->share = lua_number_in(L, -1, "share", 0);
        rule->header = text_of(L, "header");
        rule->requests = (int)lua_number_in(L, -1, "requests", 0);
        rule->time_ms = (int64_t)(lua_number_in(L, -1, "time", 0) * 1000);
        rule->keys = texts_of(L, "keys", &rule->key_count);
    }
    lua_pop(L, 1);
}

/* [policy] */
static void read_fetch(lua_State *L, struct config *config)
{
    lua_getfield(L, -1, "fetch"); /* [policy, hosts] */
    config->fetch_count = lua_istable(L, -1) ? lua_objlen(L, -1) : 0;
    config->fetch = mem_new(config->fetch_count * sizeof *config->fetch);
    for (size_t i = 0; i < config->fetch_count; i++) {
        lua_rawgeti(L, -1, (int)i + 1);
        config->fetch[i].base = text_of(L, "base");
        config->fetch[i].is_private = flag_of(L, "private");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
}

static void read_admin(lua_State *L, struct config_admin *admin)
{
    lua_getfield(L, -1, "admin");
    admin->path = text_of(L, "unix");
    admin->hosts = texts_of(L, "hosts", &admin->host_count);
    lua_getfield(L, -1, "tcp");
    if (lua_istable(L, -1)) {
        admin->host = text_of(L, "host");
        admin->port = (int)lua_number_in(L, -1, "port", 0);
    }
    lua_pop(L, 1);
    lua_getfield(L, -1, "token");
    admin->token = lua_weir_secret(L, -1);
    luaL_ref(L, LUA_REGISTRYINDEX);
    lua_pop(L, 1);
}

static void read_tls(lua_State *L, struct config *config)
{
    lua_getfield(L, -1, "tls");
    if (lua_istable(L, -1)) {
        config->tls = mem_new(sizeof *config->tls);
        config->tls->cert = text_of(L, "cert");
        config->tls->key = text_of(L, "key");
    }
    lua_pop(L, 1);
}

void config_read(struct config *config, lua_State *L)
{
    lua_getfield(L, -1, "listen");
    config->host = text_of(L, "host");
    config->port = (int)lua_number_in(L, -1, "port", 0);
    lua_pop(L, 1);
    read_tls(L, config);
    config->workers = (int)lua_number_in(L, -1, "workers", 0);
    config->drain_ms = (int64_t)(lua_number_in(L, -1, "drain", 0) * 1000);
    config->timeout = timeouts_of(L);

    lua_getfield(L, -1, "limits");
    config->limit_body = (size_t)lua_number_in(L, -1, "body", 0);
    config->limit_headers = (size_t)lua_number_in(L, -1, "headers", 0);
    config->limit_connections = (size_t)lua_number_in(L, -1, "connections", 0);
    config->limit_in_flight = (size_t)lua_number_in(L, -1, "in_flight", 0);
    config->head_ms = (int64_t)(lua_number_in(L, -1, "head_time", 0) * 1000);
    config->body_ms = (int64_t)(lua_number_in(L, -1, "body_time", 0) * 1000);
    config->idle_ms = (int64_t)(lua_number_in(L, -1, "idle_time", 0) * 1000);
    config->stuck_ms = (int64_t)(lua_number_in(L, -1, "stuck_time", 0) * 1000);
    lua_pop(L, 1);

    if (text_is(L, "ratelimit_headers", "forward"))
        config->ratelimit_headers = RATELIMIT_FORWARD;
    else if (text_is(L, "ratelimit_headers", "strip"))
        config->ratelimit_headers = RATELIMIT_STRIP;

    lua_getfield(L, -1, "policy");
    config->on_error_open = lua_istable(L, -1) && text_is(L, "on_error", "open");
    config->burst_us = (int64_t)(lua_number_in(L, -1, "burst", 0) * 1e6);
    config->memory = (size_t)lua_number_in(L, -1, "memory", 0);
    read_canary(L, &config->canary);
    config->check = text_of(L, "check");
    config->check_ms = (int64_t)(lua_number_in(L, -1, "check_time", 0) * 1000);
    read_fetch(L, config);
    lua_pop(L, 1);

    config->data = text_of(L, "data");
    read_admin(L, &config->admin);
    lua_getfield(L, -1, "reload");
    config->watches = flag_of(L, "watch");
    lua_pop(L, 1);
    read_keys(L, config);
    read_providers(L, config);
    read_models(L, config);
    read_log(L, config);
}

static void wipe_text(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    mem_free(text);
}

static void wipe_texts(char **texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        wipe_text(texts[i]);
    mem_free(texts);
}

static void provider_fini(struct provider *provider)
{
    wipe_texts(provider->headers, provider->header_count);
    for (size_t i = 0; provider->keys && i < provider->key_count; i++) {
        wipe_text(provider->keys[i].value);
        mem_free(provider->keys[i].name);
    }
    free_texts(provider->drop, provider->drop_count);
    free_texts(provider->quota_headers, provider->quota_header_count);
    mem_free(provider->keys);
    mem_free(provider->name);
    mem_free(provider->type);
    mem_free(provider->base_url);
}

/* The registry's references go with the state. */
void config_fini(struct config *config, lua_State *L)
{
    for (size_t i = 0; i < config->provider_count; i++)
        provider_fini(&config->providers[i]);
    for (size_t i = 0; i < config->model_count; i++)
        mem_free(config->models[i].name);
    mem_free(config->providers);
    mem_free(config->models);
    mem_free(config->keys);
    mem_free(config->host);
    if (config->tls) {
        mem_free(config->tls->cert);
        mem_free(config->tls->key);
    }
    mem_free(config->tls);
    mem_free(config->log_file);
    mem_free(config->admin.path);
    mem_free(config->admin.host);
    free_texts(config->admin.hosts, config->admin.host_count);
    mem_free(config->data);
    mem_free(config->check);
    mem_free(config->timezone);
    mem_free(config->webhook.base);
    wipe_text(config->webhook.path);
    wipe_texts(config->webhook.headers, config->webhook.header_count);
    for (size_t i = 0; i < config->fetch_count; i++)
        mem_free(config->fetch[i].base);
    mem_free(config->fetch);
    mem_free(config->canary.header);
    free_texts(config->canary.keys, config->canary.key_count);
}

bool config_has_canary(const struct config *config)
{
    const struct canary_rule *rule = &config->canary;
    return rule->share > 0 || rule->header || rule->key_count;
}

struct provider *config_provider(const struct config *config, struct slice name)
{
    for (size_t i = 0; i < config->provider_count; i++)
        if (slice_is(name, config->providers[i].name))
            return &config->providers[i];
    return NULL;
}
