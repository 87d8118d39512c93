/* policy.h -- the Lua side of a request.
 *
 * A policy is one run, for one request, of one of the functions of a generation,
 * as a coroutine: it asks its host to send and to sleep, and is resumed with
 * what came of it.  It knows nothing of sockets; whoever starts it is its host.
 *
 * Host functions are called from inside policy_run and policy_resume_*; the
 * host resumes later, from the loop.  on_finish comes exactly once, unless the
 * policy is freed before. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "accounts/bill.h"
#include "config.h"
#include "generation.h"
#include "limits/grant.h"
#include "parsers/body.h"
#include "parsers/chunk.h"
#include "parsers/sse.h"

struct fetch_request;
struct fetch_result;
struct policy;
struct client;

struct policy_header_source { /* the client's headers, walked when a policy asks for them */
    void (*each)(const void *source, void (*visit)(void *arg, const char *name, const char *value),
                 void *arg);
    const void *source;
};

struct policy_request { /* borrowed for the policy's life */
    const char *id;
    enum endpoint endpoint;
    struct slice model; /* as the client wrote it, decoded */
    bool stream;
    const char *key_name; /* NULL: the gateway has no keys */
    struct bill *bill;    /* NULL: the keys are no ledger's */
    const struct body *body;
    struct policy_header_source headers;
};

struct policy_send {
    const struct provider *provider;
    struct slice target;     /* "provider/model"; borrowed during the call, like the rest */
    struct slice model;      /* the model's name at the provider */
    struct timeouts timeout; /* complete */
    enum commit commit;
    struct grant grant;     /* open; the host's to end.  Of a race's second on: none */
    struct bill_item *item; /* the same */
    struct bill_price price;
    const struct body *body;        /* the client's bytes, or this attempt's copy of them */
    const struct body_edits *edits; /* the policy's, over these */
};

enum policy_result_kind {
    POLICY_RESPONSE,
    POLICY_REPLY,
    POLICY_NOBODY, /* of policy_go_on: nobody goes on */
};

struct policy_result {
    enum policy_result_kind kind;
    void *attempt;        /* POLICY_RESPONSE: the one to commit */
    int status;           /* POLICY_REPLY: ours to say, with headers and body */
    struct slice headers; /* a block of lines; borrowed during the call */
    struct slice body;
    const char *code; /* a word for the log, or NULL */
};

struct policy_trail_entry {
    struct slice target;
    const char *code; /* "ok", or the failure's */
    int key;          /* which of the provider's, from 1; 0: it has but one */
    int status;
    int64_t ms;         /* how long it took */
    double retry_after; /* seconds until it may be tried again; < 0: unknown */
};

struct policy_host {
    void (*on_send)(void *arg, const struct policy_send *send);
    /* Sends the first; the next after so many seconds without a commit, or at once when one
     * fails; the first to commit wins and the others are cancelled. */
    void (*on_race)(void *arg, const struct policy_send *sends, size_t count, double after);
    /* Sends a copy that nobody waits for. */
    void (*on_shadow)(void *arg, const struct policy_send *send);
    void (*on_sleep)(void *arg, double seconds);
    /* As on_sleep, until the answer came; false: the address cannot be read. */
    bool (*on_fetch)(void *arg, const struct fetch_request *request);
    void (*fetched)(void *arg, struct fetch_result *result); /* of the fetch that ended */
    void (*on_finish)(void *arg, const struct policy_result *result);
    size_t (*trail)(void *arg, const struct policy_trail_entry **entries); /* borrowed */
    /* The response head of an attempt, for res.headers. */
    void (*headers)(void *arg, void *attempt,
                    void (*visit)(void *visit_arg, struct slice name, struct slice value),
                    void *visit_arg);
    void (*on_attempt_dropped)(void *arg, void *attempt); /* a response that is not wanted */
};

/* A policy for request->model, which generation_serves; policy_run starts it. */
struct policy *policy_new(struct generation *generation, const struct policy_request *request,
                          const struct policy_host *host, void *arg);

void policy_run(struct policy *policy);

struct policy_answer { /* what send came back with */
    void *attempt;
    struct slice target;
    int status;
    bool stream;
};

struct policy_fault { /* why send failed, as the core saw it; lua/weir/outcome.lua judges it */
    const struct provider *provider;
    struct slice target;
    enum err fault;    /* ERR_OK: it answered, and status and body say what is wrong */
    const char *phase; /* "connect", "head", "first", "idle", "total", "body" */
    int status;        /* 0: none came */
    struct slice body;
    const char *message; /* a sentence, or NULL */
    void *attempt;       /* for its headers; may be NULL */
    bool was_sent;
};

struct policy_outcome { /* the judgement, for the trail and the log */
    char code[32];
    char message[256];
    int status;
    double retry_after;     /* seconds; < 0: none said */
    double cooldown;        /* seconds; 0: none */
    enum grant_scope scope; /* of the cooldown */
    bool is_said;           /* the provider named its length */
    char dimension[8];      /* of the limit that was spent, or empty */
    bool alarm;
};

/* Judges a fault; the failure waits for policy_resume_failure. */
struct policy_outcome policy_judge(struct policy *policy, const struct policy_fault *fault);
/* The same where no policy waits for it.  Of the host only headers is called, without an arg. */
struct policy_outcome generation_judge(struct generation *generation, const char *id,
                                       const struct policy_host *host,
                                       const struct policy_fault *fault);

/* Adds what the client is to know of the provider's limits to the head of its answer, from the
 * attempt's own head. */
void policy_add_ratelimit(struct policy *policy, const struct provider *provider, void *attempt,
                          struct buf *head);

/* The failure that waits: another of the provider's keys may try the same target, now. */
void policy_note_other_key(struct policy *policy);
void policy_resume_failure(struct policy *policy);
void policy_resume_answer(struct policy *policy, const struct policy_answer *answer);
void policy_resume_sleep(struct policy *policy);

struct policy_header {
    struct slice name, value;
};

/* What headers of an answer say of its provider's quotas; gives how many words. */
size_t generation_quotas(struct generation *generation, const struct provider *provider,
                         const struct policy_header *headers, size_t count,
                         struct quota_word *words, size_t most);

/* ---- after the commit point ---- */

bool policy_has_filters(const struct policy *policy);

enum policy_filtered {
    POLICY_FILTERED,
    POLICY_FILTER_WAITS,  /* on_sleep was called: hold the answer back, then policy_filter_resume */
    POLICY_FILTER_FAILED, /* it raised; the log has why */
};

/* Runs the filters of the committed response over one event; what comes out is appended to out as
 * event-stream bytes. */
MUST_CHECK enum policy_filtered policy_filter_event(struct policy *policy,
                                                    const struct sse_event *event,
                                                    const struct chunk *chunk, struct buf *out);

/* The same over each text of a plain answer (texts.h): replaces in body what the filters changed.
 */
MUST_CHECK enum policy_filtered policy_filter_answer(struct policy *policy, struct buf *body);

/* Goes on after a wait: out is the one that was given before. */
MUST_CHECK enum policy_filtered policy_filter_resume(struct policy *policy, struct buf *out);

/* Of a filter that failed: its code, and a sentence for the client. */
const char *policy_code(const struct policy *policy);
const char *policy_sentence(const struct policy *policy);

/* Whether res:on_break was used: the committed stream may go on with another target. */
bool policy_may_go_on(const struct policy *policy);

/* The stream broke, was judged, and said so much: the functions of res:on_break run.  They send and
 * sleep as a policy does; on_finish comes once more, with a response that is a stream or nobody. */
void policy_go_on(struct policy *policy, struct slice said);

struct policy_end {
    struct chunk_usage usage;
    int64_t first_ms, total_ms;
    const char *code; /* "ok", "cancelled", … */
};
void policy_end(struct policy *policy, const struct policy_end *end); /* runs res:on_end */

/* Lets go of what only a running policy needs, once its response is committed. */
void policy_slim(struct policy *policy);

/* Ends it, in whatever state; Lua objects that are still held say "this request is over". */
void policy_free(struct policy *policy);
