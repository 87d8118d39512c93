/* meter.h -- what requests and attempts tell the metrics.
 *
 * Names are those of OpenTelemetry's GenAI conventions where they have one, as Prometheus writes
 * them.  Labels come from the configuration: models and providers by their names there, "*" for
 * what a client named and the configuration did not.  A generation's meters keep the series that
 * they have found: after the first request of its kind nothing is searched.
 *
 * https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/ */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "metrics/tally.h"
#include "parsers/chunk.h"
#include "policy/config.h"

struct meter; /* a model's, or a provider's */

/* For each model and provider of the configuration, and for its fallback. */
void meter_make(const struct config *config, struct tallies *tallies);
void meter_unmake(const struct config *config);

struct meter_request { /* one that has ended */
    enum endpoint endpoint;
    int status;
    bool is_stream, is_cut; /* cut: after its first event */
    bool is_policy_error;   /* a policy or a filter raised */
    int64_t first_us;       /* to the first event; 0: none came */
    int64_t total_us;
    struct chunk_usage usage;
    const struct provider *provider; /* who served; NULL: nobody */
    const struct tally_batch *between;
};

/* Accepts NULL, as all below: nothing is measured where no meters were made. */
void meter_request(struct meter *model, const struct meter_request *request);

/* Of attempts that ended: code is "ok", or what outcome.lua says.  us: that it took. */
void meter_attempt(struct meter *provider, const char *code, int64_t us);

/* Micro-dollars that an attempt of the provider's cost, and that a request for the model did. */
void meter_cost(struct meter *provider, int64_t cost);
void meter_model_cost(struct meter *model, int64_t cost);

/* The model's that the configuration has under that name, or the fallback's. */
struct meter *meter_of_model(const struct config *config, struct slice name);
