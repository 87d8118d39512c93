/* config.h -- what weir.lua says, as C reads it.
 *
 * lua/weir/config.lua has checked and completed everything; here it only
 * becomes plain structs.  Owned by the generation that loaded it. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/log.h"
#include "leaves/slice.h"
#include "limits/limit.h"
#include <stdint.h>

struct lua_State;
struct secret;

enum endpoint { ENDPOINT_CHAT, ENDPOINT_COMPLETIONS, ENDPOINT_EMBEDDINGS, ENDPOINT_COUNT };

struct timeouts { /* milliseconds; 0: no such clock */
    int64_t connect_ms;
    int64_t first_ms;
    int64_t idle_ms;
    int64_t total_ms;
};

struct provider_key { /* a header of the attempts that use it */
    char *name;
    char *value; /* the credential */
};

struct provider {
    char *name;
    char *type;
    char *base_url;
    char **headers; /* lines "name: value", the credential among them where there is one key */
    size_t header_count;
    struct provider_key *keys; /* where there are several */
    size_t key_count;          /* at least 1 */
    struct limits_rules limits;
    char **quota_headers; /* names of response headers that its settings' quotas() reads */
    size_t quota_header_count;
    char **drop; /* members of a request that it refuses */
    size_t drop_count;
    struct timeouts timeout;
    bool done_required;    /* a stream without [DONE] is cut, even after a finish_reason */
    bool reports_cost;     /* its usage says what it charges, in dollars */
    bool include_usage;    /* it understands stream_options.include_usage */
    struct origin *origin; /* the upstream's; made by the worker */
    struct meter *meter;   /* like origin; NULL: none is made */
    int settings_ref;      /* its settings table, for outcome.lua */
};

struct model {
    char *name;
    int policy_ref; /* in the Lua registry */
    struct meter *meter;
};

struct canary_rule { /* who is served by a new version first; all zero: all at once */
    double share;    /* of conversations */
    char *header;    /* lower case; requests that have it; NULL: none */
    char **keys;     /* names of keys */
    size_t key_count;
    int requests;    /* that it needs, */
    int64_t time_ms; /* and the time, to serve all */
};

/* What clients get. */
enum ratelimit_headers { RATELIMIT_SYNTHESIZE, RATELIMIT_FORWARD, RATELIMIT_STRIP };

struct fetch_host { /* whom weir.fetch may ask */
    char *base;     /* "https://hooks.example" */
    bool is_private;
};

struct config_webhook { /* who is told of budgets; base NULL: nobody */
    char *base, *path;
    char **headers; /* lines "name: value", credentials among them */
    size_t header_count;
    bool is_private; /* it may be on somebody's own network */
};

struct config_tls {
    char *cert, *key; /* paths, as they were written */
    struct tls *made; /* by the loader */
};

enum { CONFIG_TOKEN_MIN = 16, CONFIG_TOKEN_SIZE = 256 }; /* bytes; the latter with a NUL */

struct config_admin {
    char *path; /* of the socket, as it was written; NULL: none */
    char *host; /* of the port; NULL: none */
    int port;
    const struct secret *token; /* borrowed, like keys; set where there is a port */
    char **hosts;               /* names that a request may have in Host */
    size_t host_count;
};

struct config {
    char *host;
    int port;
    struct config_tls *tls; /* NULL: plain HTTP */
    int workers;            /* 0: one a core */
    int64_t drain_ms;
    const struct secret **keys; /* borrowed from Lua's secrets */
    size_t key_count;
    bool has_ledger;       /* keys are virtual: keys.h */
    char *timezone;        /* of the ledger's days */
    int64_t answer_tokens; /* that a budget reserves where the request sets no limit */
    int64_t store_s;       /* for which keys may have their texts kept; 0: they may not */
    size_t store_most;     /* bytes of a request, and of its answer */
    int64_t store_room;    /* bytes of all of them */
    struct config_webhook webhook;
    struct provider *providers;
    size_t provider_count;
    struct model *models; /* by name; behind the last is that of "*", which has only a meter */
    size_t model_count;
    int fallback_ref; /* the "*" policy; LUA_NOREF when there is none */
    struct timeouts timeout;
    size_t limit_body, limit_headers, limit_connections, limit_in_flight;
    int64_t head_ms, body_ms, idle_ms, stuck_ms; /* of clients: client.h */
    bool on_error_open;
    enum ratelimit_headers ratelimit_headers;
    int64_t burst_us; /* of CPU, for Lua between yields */
    size_t memory;    /* bytes, of a generation's Lua */
    struct canary_rule canary;
    char *check;      /* where the policies' specs are, as it was written; NULL: none */
    int64_t check_ms; /* for them all */
    struct fetch_host *fetch;
    size_t fetch_count;
    enum log_level log_level;
    enum log_format log_format;
    char *log_file; /* NULL: standard error */
    char *data;     /* the folder of what outlives a restart */
    struct config_admin admin;
    bool watches; /* a changed file is a reload */
};

bool config_has_canary(const struct config *config);

/* Reads the settings table on top of L's stack; leaves it there. */
void config_read(struct config *config, struct lua_State *L);
void config_fini(struct config *config, struct lua_State *L);

struct provider *config_provider(const struct config *config, struct slice name); /* or NULL */
