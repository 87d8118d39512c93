/* lua_core.h -- what the files of the Lua border share: the running policy as
 * they see it, and how each opens its types.  Nobody else includes it. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "lua_guard.h"
#include "parsers/texts.h"
#include "policy.h"
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>

enum policy_state {
    POLICY_RUNNING,
    POLICY_SENDING,
    POLICY_SLEEPING,
    POLICY_FINISHED,
    POLICY_FILTERING
};

struct lua_response {      /* the userdata behind res */
    struct policy *policy; /* NULL: the request is over */
    void *attempt;         /* NULL: another was sent since */
    int status;
    bool stream;
    /* In the registry; LUA_NOREF when there is none. */
    int self_ref, target_ref, filters_ref, ends_ref, breaks_ref;
    struct lua_response *next; /* of the same policy */
};

struct policy {
    struct generation *generation;
    const struct policy_host *host;
    void *host_arg;
    const struct policy_request *request;
    lua_State *co;
    int co_ref;
    struct policy **request_slot; /* the userdata behind req; cleared at the end */
    int request_ref;
    struct lua_response *responses;
    struct lua_response *committed;
    int failure_ref; /* an err that waits for policy_resume_failure */
    enum policy_state state;
    int64_t soonest_us; /* when a target that was passed over is back; 0: none */
    char cooling_reason[LANE_REASON];
    struct body_edits edits;
    int body_ref;                 /* the document behind req.body, or LUA_NOREF */
    int sends;                    /* how often it sent */
    int lines;                    /* of weir.log that it wrote */
    struct lua_texts *texts;      /* a plain answer in its filters, or NULL */
    bool goes_on;                 /* the functions of res:on_break run, or wait */
    enum lua_guard_cause overran; /* what stopped it, or a filter of its */
};

struct lua_voice { /* how much a generation may still log: a bucket that fills with time */
    double lines;
    int64_t at_us;     /* when it was looked at last; 0: never */
    uint64_t left_out; /* lines since the last that was written */
};

struct generation {
    lua_State *L;
    struct lua_voice voice;
    struct config config;
    struct limits *limits;
    unsigned number;
    int runtime_ref; /* lua/weir/runtime.lua's table */
    struct {
        lua_State *co;
        int ref;
    } idle[256]; /* finished coroutines, to be used again */
    size_t idle_count;
    struct policy *running; /* whose code runs now; NULL while none does */
    struct lua_guard guard;
    enum lua_guard_cause cause;  /* what the last entry into Lua met */
    struct sources *sources;     /* while it is loaded; NULL later */
    struct sources *own_sources; /* the simulator's, which reads as long as it lives */
    unsigned users;
    void (*on_free)(void *arg, struct generation *generation); /* or NULL */
    void *on_free_arg;
};

struct generation *lua_generation(lua_State *L);
/* In the registry: the policy that serves the model; LUA_NOREF: none does. */
int generation_policy_ref(const struct generation *generation, struct slice model);

/* For the simulator: the settings on top of the generation's stack count from now on; and the
 * policy of that reference serves every model that has none. */
void generation_configure(struct generation *generation);
void generation_set_fallback(struct generation *generation, int policy_ref);

/* lua_weir.c: the table that require("weir.host") gives to Weir's own modules. */
void lua_weir_push_host(lua_State *L);
struct secret *lua_weir_secret(lua_State *L, int index); /* or NULL */

/* The policy that runs and may yield now; raises, naming function, when none may. */
struct policy *lua_may_wait(lua_State *L, const char *function);

/* lua_fetch.c: weir.fetch, in two halves. */
int lua_fetch_start(lua_State *L);
int lua_fetch_result(lua_State *L);

/* lua_json.c */
void lua_json_open(lua_State *L);
/* Pushes the decoded value, or pushes nil and a message and gives false.  With spans (the
 * stack index of a table, or 0) each table decoded is entered there with where it stood:
 * (offset from origin) * 2^27 + length. */
bool lua_json_decode(lua_State *L, struct slice text, int spans, const char *origin);
/* False with a message pushed when the value at index cannot be JSON. */
bool lua_json_encode(lua_State *L, int index, struct buf *out);
/* The keys of the table at index, sorted, so that the same value is always the same text; the
 * caller frees the list.  NULL when one is no string.  The table keeps the strings alive. */
const char **lua_json_names(lua_State *L, int index, size_t *count);
bool lua_json_is_array(lua_State *L, int index);
void lua_json_add_number(struct buf *out, double number);

/* lua_request.c, lua_send.c, lua_response.c, lua_event.c, lua_body.c */
void lua_request_open(lua_State *L);
void lua_request_push(lua_State *L, struct policy *policy);
/* The policy of the req that is argument 1; raises when its request is over, when what (as
 * "req:send") is not called by that policy while it runs, or where it cannot wait. */
struct policy *lua_request_check(lua_State *L);
struct policy *lua_request_check_running(lua_State *L, const char *what);
struct policy *lua_request_check_waiting(lua_State *L, const char *what);
/* lua_options.c: what a table of options says goes into send; each raises for what is wrong in it,
 * naming the member.  The first leaves the edit function, or nil, on the stack; the last gives a
 * race's seconds between two starts. */
void lua_options_read(lua_State *L, int index, struct policy_send *send, bool *insists);
void lua_options_read_attempt(lua_State *L, int index, struct policy_send *send);
double lua_options_read_race(lua_State *L, int index);
/* lua_send.c: methods of req. */
int lua_send_available(lua_State *L);
int lua_send_one(lua_State *L);
int lua_send_race(lua_State *L);
int lua_send_shadow(lua_State *L);
void lua_response_open(lua_State *L);
void lua_response_push(lua_State *L, struct policy *policy, const struct policy_answer *answer);
struct lua_response *lua_response_test(lua_State *L, int index); /* or NULL */
/* The stream of first goes on with next's attempt: next's filters come before first's. */
void lua_response_adopt(lua_State *L, struct lua_response *first, struct lua_response *next);
/* The request is over: what Lua still holds of the response is dead. */
void lua_response_close(lua_State *L, struct lua_response *response);
void lua_event_open(lua_State *L);
void lua_event_push(lua_State *L, const struct sse_event *event, const struct chunk *chunk);
void lua_event_push_text(lua_State *L, const struct text_place *place); /* [answer] -> [event] */
/* Appends what the event at index is on the wire (of a plain answer's text: the inside of its
 * string); false when it is no event. */
bool lua_event_render(lua_State *L, int index, struct buf *out);
/* A document over body; gives its reference, for lua_body_close. */
int lua_body_new(lua_State *L, const struct body *body);
void lua_body_push(lua_State *L, int ref); /* pushes the table that a policy works on */
/* Turns what was written to it into edits, which are replaced; false with a message pushed. */
bool lua_body_collect(lua_State *L, int ref, struct body_edits *edits);
void lua_body_close(lua_State *L, int ref); /* use of it says "this request is over" */

/* lua_shared.c: weir.shared(name) and weir.target(name), as functions of Lua. */
void lua_shared_open(lua_State *L);
int lua_shared_new(lua_State *L);
int lua_target_new(lua_State *L);
struct slice lua_target_test(lua_State *L, int index); /* its name; empty when it is no target */

/* lua_metric.c: weir.metric, as a function of Lua. */
int lua_metric_add(lua_State *L);

/* lua_zone.c: whether the system knows a time zone, as a function of Lua. */
int lua_zone_find(lua_State *L);

/* lua_filter.c: ends what waits in a filter. */
void lua_filter_close(struct policy *policy);

/* A coroutine for the policy, kept or new; and back: one that raised or waits is not used again. */
void lua_take_coroutine(struct policy *policy);
void lua_give_coroutine(struct policy *policy, bool reusable);

/* A protected call that leaves a traceback in the error message; guarded, as the next one is. */
int lua_call_traced(lua_State *L, int args, int results);
/* lua_resume of the policy's coroutine, which runs meanwhile. */
int lua_resume_policy(struct policy *policy, int args);

/* The policy's coroutine returned, its results are the coroutine's stack: tells the host. */
void lua_reply_finish(struct policy *policy);

/* The policy failed: logs message, and has the host told of a failure in words for the client. */
void lua_reply_fail(struct policy *policy, const char *message);

/* A member of the table at that index; otherwise: it is no number. */
double lua_number_in(lua_State *L, int at, const char *name, double otherwise);

/* Sets a member of the table on top. */
void lua_set_text(lua_State *L, const char *name, const char *text);

/* Pushes a failure: { code, message }. */
void lua_push_code(lua_State *L, const char *code, const char *message);

/* Pushes the attempts so far as a list of tables. */
void lua_push_trail(lua_State *L, struct policy *policy);

/* Pushes a field of lua/weir/runtime.lua. */
void lua_push_runtime(lua_State *L, const char *name);
