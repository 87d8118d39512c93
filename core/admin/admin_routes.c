/* admin_routes.c -- what operators are served.  docs/openapi.yaml describes it, and a spec holds
 * the two against each other. */
/* SPDX-License-Identifier: MIT */
#include "admin_own.h"
#include "gauges.h"
#include "leaves/exit_code.h"
#include "leaves/log.h"
#include "leaves/loop.h"
#include "limits/limit_show.h"
#include "master/clerk.h"
#include "master/crew.h"
#include "master/explain.h"
#include "master/loader.h"
#include "master/reload.h"
#include "master/trial.h"
#include "parsers/json.h"
#include <errno.h>

typedef void route_serve(struct admin *admin, struct caller *caller);

static route_serve serve_reload, serve_rollback, explain, answer_health, answer_status,
    answer_generations, answer_config, answer_limits, answer_metrics;

static const struct route {
    const char *method, *path;
    route_serve *serve;
    const char *parameter; /* the one that its query may have; NULL: none */
} routes[] = {
    {"GET", "/health", answer_health, NULL},
    {"GET", "/status", answer_status, NULL},
    {"GET", "/generations", answer_generations, NULL},
    {"GET", "/config", answer_config, NULL},
    {"GET", "/limits", answer_limits, NULL},
    {"GET", "/admin/limits", answer_limits, NULL},
    {"GET", "/metrics", answer_metrics, NULL},
    {"POST", "/reload", serve_reload, "wait"},
    {"POST", "/rollback", serve_rollback, NULL},
    {"POST", "/explain", explain, NULL},
};

/* ---- POST /reload, /rollback ---- */

static void ask(struct admin *admin, struct caller *caller, enum reload_cause cause)
{
    caller->ticket = reload_ask(admin->reload, cause);
    caller->state = WAITING;
    caller->deadline_us = INT64_MAX;
}

static void serve_reload(struct admin *admin, struct caller *caller)
{
    ask(admin, caller, RELOAD_COMMAND);
}

static void serve_rollback(struct admin *admin, struct caller *caller)
{
    ask(admin, caller, RELOAD_ROLLBACK);
}

static void answer_generation(const struct admin *admin, struct caller *caller)
{
    struct buf body = {0};
    const struct version *tried = trial_version(reload_trial(admin->reload));
    unsigned number = reload_current(admin->reload)->number;

    if (tried && caller->wants_text)
        buf_add_format(&body, "generation %u serves some: a canary\n", tried->number);
    if (tried && !caller->wants_text)
        buf_add_format(&body, "{\"generation\":%u,\"canary\":%u}", number, tried->number);
    else
        buf_add_format(&body, caller->wants_text ? "generation %u serves\n" : "{\"generation\":%u}",
                       number);
    caller_answer(caller, 200, &body);
    buf_free(&body);
}

static void answer_refused(const struct admin *admin, struct caller *caller)
{
    struct buf body = {0};
    struct slice problems = reload_problems(admin->reload);

    if (caller->wants_text) {
        log_redact(&body, problems);
    } else {
        struct buf text = {0};
        log_redact(&text, problems);
        buf_add_format(&body,
                       "{\"generation\":%u,\"refused\":", reload_current(admin->reload)->number);
        json_quote(&body, buf_slice(&text));
        buf_add_char(&body, '}');
        buf_free(&text);
    }
    caller_answer(caller, 409, &body);
    buf_free(&body);
}

/* ---- GET /status, /generations, /health, /config ---- */

static void add_versions(const struct admin *admin, struct buf *body, bool as_text)
{
    const struct version *now = reload_current(admin->reload);
    const struct version *before = reload_previous(admin->reload);
    int64_t age_s = (loop_now_us() - now->since_us) / 1000000;

    if (as_text) {
        buf_add_format(body, "generation %u, for %lld s", now->number, (long long)age_s);
        if (before)
            buf_add_format(body, "; before it %u", before->number);
        buf_add_text(body, "\n");
        return;
    }
    buf_add_format(body, "{\"generation\":%u,\"seconds\":%lld,\"previous\":", now->number,
                   (long long)age_s);
    if (before)
        buf_add_format(body, "%u", before->number);
    else
        buf_add_text(body, "null");
}

static void add_canary(const struct admin *admin, struct buf *body, bool as_text)
{
    const struct trial *trial = reload_trial(admin->reload);

    if (!trial_is_on(trial)) {
        buf_add_text(body, as_text ? "" : ",\"canary\":null");
        return;
    }
    buf_add_text(body, as_text ? "canary: " : ",\"canary\":");
    trial_describe(trial, body, !as_text);
    buf_add_text(body, as_text ? "\n" : "");
}

static void add_worker(const struct crew_worker *worker, struct buf *body, bool as_text)
{
    const char *state = !worker->pid         ? "dead"
                        : worker->is_retired ? "draining"
                        : worker->is_ready   ? "ready"
                                             : "starting";

    buf_add_format(body,
                   as_text ? "worker %d: pid %d, %s, generations %u\n"
                           : "{\"worker\":%d,\"pid\":%d,\"state\":\"%s\",\"generations\":%u}",
                   worker->number, (int)worker->pid, state, worker->live);
}

static void answer_status(struct admin *admin, struct caller *caller)
{
    struct buf body = {0}, refused = {0};
    bool as_text = caller->wants_text;

    log_redact(&refused, reload_refusal(admin->reload));
    add_versions(admin, &body, as_text);
    add_canary(admin, &body, as_text);
    buf_add_text(&body, as_text ? "" : ",\"workers\":[");
    for (int i = 0; i < admin->crew->count; i++) {
        buf_add_text(&body, i && !as_text ? "," : "");
        add_worker(admin->crew->list[i], &body, as_text);
    }
    buf_add_text(&body, as_text ? "" : "],\"refused\":");
    if (as_text && refused.len) {
        buf_add_text(&body, "the last reload was refused:\n");
        buf_add(&body, buf_slice(&refused));
    } else if (!as_text && refused.len) {
        json_quote(&body, buf_slice(&refused));
    } else if (!as_text) {
        buf_add_text(&body, "null");
    }
    buf_add_text(&body, as_text ? "" : "}");
    caller_answer(caller, 200, &body);
    buf_free(&body);
    buf_free(&refused);
}

static void add_generation(struct buf *body, const char *state, const struct version *version)
{
    int64_t age_s = (loop_now_us() - version->since_us) / 1000000;

    buf_add_format(body, "%s{\"generation\":%u,\"state\":\"%s\",\"seconds\":%lld}",
                   body->len > 1 ? "," : "", version->number, state, (long long)age_s);
}

static void answer_generations(struct admin *admin, struct caller *caller)
{
    struct buf body = {0};
    const struct version *before = reload_previous(admin->reload);
    const struct version *tried = trial_version(reload_trial(admin->reload));

    buf_add_char(&body, '[');
    add_generation(&body, "serves", reload_current(admin->reload));
    if (tried)
        add_generation(&body, "canary", tried);
    if (before)
        add_generation(&body, "previous", before);
    buf_add_char(&body, ']');
    caller_answer_as(caller, 200, "application/json", "", &body);
    buf_free(&body);
}

static void answer_health(struct admin *admin, struct caller *caller)
{
    struct buf body = {0};
    bool is_ready = crew_all_ready(admin->crew);

    if (caller->wants_text)
        buf_add_format(&body, "%s\n", is_ready ? "ok" : "starting");
    else
        buf_add_format(&body, "{\"status\":\"%s\",\"version\":\"" WEIR_VERSION "\"}",
                       is_ready ? "ok" : "starting");
    caller_answer(caller, 200, &body);
    buf_free(&body);
}

/* What looks like a credential is masked: somebody may have written one where text is shown. */
static void answer_config(struct admin *admin, struct caller *caller)
{
    struct buf body = {0};

    log_redact(&body, buf_slice(&reload_current(admin->reload)->shown));
    caller_answer_as(caller, 200, "application/json", "", &body);
    buf_free(&body);
}

/* ---- POST /explain ---- */

static void explain(struct admin *admin, struct caller *caller)
{
    caller->explain = explain_start(admin->crew->start.config_path, reload_current(admin->reload),
                                    admin->crew->start.limits, caller_body(caller));
    caller->state = EXPLAINING;
    caller->deadline_us = INT64_MAX;
    if (!caller->explain)
        caller_answer_error(caller, 409, strerror(errno));
}

void admin_explained(struct caller *caller, int status)
{
    struct buf text = {0}, body = {0};
    int result = explain_finish(caller->explain, status, &text);

    caller->explain = NULL;
    if (caller->wants_text) {
        buf_add(&body, buf_slice(&text));
    } else {
        buf_add_text(&body, "{\"text\":");
        json_quote(&body, buf_slice(&text));
        buf_add_char(&body, '}');
    }
    caller_answer(caller, result == EXIT_OK ? 200 : result == EXIT_CONFIG ? 409 : 404, &body);
    buf_free(&text);
    buf_free(&body);
}

/* ---- GET /metrics, /limits ---- */

static void answer_metrics(struct admin *admin, struct caller *caller)
{
    struct buf body = {0};

    gauges_write(admin->reload, admin->crew, admin->clerk, &body);
    caller_answer_as(caller, 200, "text/plain; version=0.0.4", "", &body);
    buf_free(&body);
}

static void answer_limits(struct admin *admin, struct caller *caller)
{
    struct buf body = {0};

    limits_show(admin->crew->start.limits, caller->wants_text, loop_now_us(), &body);
    caller_answer(caller, 200, &body);
    buf_free(&body);
}

/* ---- requests ---- */

/* Up to the first of ends. */
static struct slice cut(struct slice *rest, const char *ends)
{
    size_t len = 0;

    while (len < rest->len && !strchr(ends, rest->ptr[len]))
        len++;
    struct slice part = {rest->ptr, len};
    rest->ptr += len;
    rest->len -= len;
    return part;
}

/* Passed over in silence, a name that nobody knows would mislead. */
static void refuse_parameter(struct caller *caller, const struct route *route, struct slice name)
{
    struct buf message = {0};

    buf_add(&message, name);
    buf_add_format(&message, ": no such parameter here; %s%s is taken",
                   route->parameter ? "only " : "none", route->parameter ? route->parameter : "");
    buf_add_char(&message, '\0');
    caller_answer_error(caller, 400, message.ptr);
    buf_free(&message);
}

/* "?wait=1", or nothing.  False: it is answered already. */
static bool read_query(struct caller *caller, const struct route *route, struct slice query)
{
    while (query.len) {
        query.ptr++; /* ? or & */
        query.len--;
        struct slice part = cut(&query, "&"), name = cut(&part, "=");
        if (name.len && (!route->parameter || !slice_is(name, route->parameter))) {
            refuse_parameter(caller, route, name);
            return false;
        }
        caller->has_parameter = caller->has_parameter || name.len;
    }
    return true;
}

static void refuse_path(struct caller *caller)
{
    struct buf message = {0};

    buf_add_text(&message, "served are /keys, /teams, /usage, /requests,");
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++)
        buf_add_format(&message, "%s %s %s", i ? "," : "", routes[i].method, routes[i].path);
    buf_add_char(&message, '\0');
    caller_answer_error(caller, 404, message.ptr);
    buf_free(&message);
}

void admin_set_clerk(struct admin *admin, struct clerk *clerk)
{
    admin->clerk = clerk;
}

/* The clerk answers by itself, over the connection that it is given. */
static void pass(struct admin *admin, struct caller *caller)
{
    if (caller->door != DOOR_UNIX && clerk_is_private(buf_slice(&caller->bytes))) {
        caller_answer_error(caller, 403,
                            "what clients and models said is told over the unix socket alone: the "
                            "port's token is in the hands of monitors, too");
        return;
    }
    switch (clerk_pass(admin->clerk, caller->fd, buf_slice(&caller->bytes))) {
    case CLERK_TOOK: caller_hang_up(caller); return;
    case CLERK_IS_NONE:
        caller_answer_error(caller, 409,
                            "this gateway keeps no ledger: in its weir.lua there would be "
                            "keys = \"ledger\"");
        return;
    case CLERK_IS_AWAY:
        caller_answer_error(caller, 503, "the ledger's process is not there now; try again");
        return;
    case CLERK_TOO_LARGE: caller_answer_error(caller, 400, "the body is too large"); return;
    }
}

void admin_serve(struct admin *admin, struct caller *caller)
{
    struct slice rest = buf_slice(&caller->bytes);
    struct slice method = cut(&rest, " ");

    rest.ptr++; /* the gate has seen the blank */
    rest.len--;
    struct slice path = cut(&rest, " ?"), query = cut(&rest, " ");
    caller->wants_text = slice_is(caller_header(caller, "accept"), "text/plain");
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (!slice_is(path, routes[i].path))
            continue;
        if (!slice_is(method, routes[i].method)) /* a path has one */
            caller_answer_not_allowed(caller, routes[i].method);
        else if (read_query(caller, &routes[i], query))
            routes[i].serve(admin, caller);
        return;
    }
    if (clerk_answers(buf_slice(&caller->bytes)))
        pass(admin, caller);
    else
        refuse_path(caller);
}

void admin_look(struct admin *admin, struct caller *caller)
{
    struct buf body = {0};

    if (reload_is_done(admin->reload, caller->ticket)) {
        if (reload_is_refused(admin->reload))
            answer_refused(admin, caller);
        else
            answer_generation(admin, caller);
    } else if (reload_is_waiting(admin->reload) && !caller->has_parameter) {
        static const char text[] =
            "accepted: it waits until requests of an older generation have ended";
        buf_add_format(&body, caller->wants_text ? "%s\n" : "{\"waits\":\"%s\"}", text);
        caller_answer(caller, 202, &body);
    }
    buf_free(&body);
}
