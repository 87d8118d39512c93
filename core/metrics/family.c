/* family.c -- every name that the gateway has series of, and what it tells.
 *
 * A spec holds the table against the names in core/, so that none is without its sentence. */
/* SPDX-License-Identifier: MIT */
#include "family.h"

static const struct family {
    const char *name, *help;
} families[] = {
    {"gen_ai_client_token_usage", "Tokens of a request, as its provider reports them."},
    {"gen_ai_server_request_duration_seconds", "Duration of clients' requests."},
    {"gen_ai_server_time_per_output_token_seconds",
     "Time for each token after the first, of streams whose usage is known."},
    {"gen_ai_server_time_to_first_token_seconds",
     "Time to the first event that the client of a stream got."},
    {"weir_attempt_duration_seconds",
     "Duration of attempts, to their commit point or their failure."},
    {"weir_attempts_in_flight", "Attempts that run now."},
    {"weir_attempts_total", "Attempts that ended, by outcome."},
    {"weir_budget_soft_total", "Keys and teams that came past their soft limit in a window."},
    {"weir_budget_spent_total",
     "Keys and teams that were first refused for want of money in a window."},
    {"weir_canary", "1 while a version is on trial."},
    {"weir_canary_errors", "Requests of the trial that failed, by version."},
    {"weir_canary_requests", "Requests of the trial, by version."},
    {"weir_clerk_deaths_total", "How often the ledger's process died, and was started again."},
    {"weir_clerk_up", "1 while the ledger's process runs."},
    {"weir_connections", "Connections of clients."},
    {"weir_generation", "Number of the version that serves."},
    {"weir_generations_live", "The most versions that one worker holds."},
    {"weir_journal_used_ratio",
     "How full the fullest worker's journal is; at 1 keys with a budget are refused."},
    {"weir_key_refused_total", "Requests and attempts that a limit of a key or its team refused."},
    {"weir_ledger_failing", "1 while the ledger cannot be written."},
    {"weir_ledger_refused_total", "Requests and attempts refused because the journal had no room."},
    {"weir_ledger_unrecorded_total",
     "Requests and attempts served unrecorded because the journal had no room."},
    {"weir_ledger_waiting", "Requests and attempts that ended and are not in the ledger yet."},
    {"weir_loop_lag_seconds", "How late the workers' loops come round."},
    {"weir_metrics_dropped_total", "What policies counted and found no room."},
    {"weir_model_cost_dollars_total", "What requests cost, by model."},
    {"weir_model_tokens_total", "Tokens of requests, by model."},
    {"weir_policy_errors_total", "Requests that an error in Lua ended, or that a filter failed."},
    {"weir_provider_cost_dollars_total", "What attempts cost, by provider."},
    {"weir_quota_remaining",
     "The least that is left of a limit at any key and model of the provider."},
    {"weir_reload_refused", "1 when the last reload was refused."},
    {"weir_reloads_total", "Versions that were loaded, by result."},
    {"weir_requests_in_flight", "Requests that are served now."},
    {"weir_requests_waiting", "Requests in flight whose policy sleeps, queues or asks."},
    {"weir_series_dropped_total", "What found no room among the gateway's own series."},
    {"weir_shadows_in_flight", "Copies of requests that run now."},
    {"weir_stream_time_between_events_seconds",
     "Time between two batches of events, as they left."},
    {"weir_targets_cooling", "Targets that are not tried now."},
    {"weir_texts_dropped_total", "Prompts and answers to be stored that found no room."},
    {"weir_texts_stored_total", "Prompts and answers that were stored."},
    {"weir_tls_certificate_end_seconds", "Unix time at which the certificate ends."},
    {"weir_unauthorized_total", "Requests that had none of the keys."},
    {"weir_webhook_total", "Messages to the webhook, by result."},
    {"weir_workers", "Workers, by state."},
};

const char *family_help(struct slice name)
{
    const struct slice policies = SLICE("weir_policy_");

    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (slice_is(name, families[i].name))
            return families[i].help;
    return name.len > policies.len && memcmp(name.ptr, policies.ptr, policies.len) == 0
               ? "Counted by policies, with weir.metric."
               : NULL;
}

void family_write(struct buf *out, struct slice name, const char *type)
{
    const char *help = family_help(name);

    if (help)
        buf_add_format(out, "# HELP %.*s %s\n", (int)name.len, name.ptr, help);
    buf_add_format(out, "# TYPE %.*s %s\n", (int)name.len, name.ptr, type);
}
