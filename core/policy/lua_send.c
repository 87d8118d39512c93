/* lua_send.c -- req's way to targets: which are free, and sending to one, to several, on the side.
 *
 * All that may raise comes before what is taken of a target's limits and of a
 * budget: whoever raises has taken nothing. */
/* SPDX-License-Identifier: MIT */
#include "leaves/loop.h"
#include "lua_core.h"
#include "ration.h"
#include <stdlib.h>

enum {
    SENDS_MAX = 64, /* a policy that sends for ever ends */
    RACE_MAX = 8,   /* attempts at once */
};

/* ---- targets ---- */

struct target {
    const struct provider *provider;
    struct slice name;  /* what the policy wrote: provider/model */
    struct slice model; /* after the slash */
};

static int no_provider(lua_State *L, const struct generation *generation, struct slice name)
{
    const struct config *config = &generation->config;

    lua_push_runtime(L, "suggest");
    lua_pushlstring(L, name.ptr, name.len);
    lua_createtable(L, (int)config->provider_count, 0);
    for (size_t i = 0; i < config->provider_count; i++) {
        lua_pushstring(L, config->providers[i].name);
        lua_rawseti(L, -2, (int)i + 1);
    }
    lua_call(L, 2, 1);
    lua_pushlstring(L, name.ptr, name.len);
    if (lua_isstring(L, -2))
        return luaL_error(L, "no provider is called '%s' (did you mean '%s'?)", lua_tostring(L, -1),
                          lua_tostring(L, -2));
    return luaL_error(L, "no provider is called '%s'", lua_tostring(L, -1));
}

static struct target check_target(lua_State *L, int index, const struct policy *policy)
{
    struct target target;
    struct slice object = lua_target_test(L, index);
    size_t len = object.len;
    const char *text = object.ptr ? object.ptr : luaL_checklstring(L, index, &len);
    const char *slash = memchr(text, '/', len);

    if (!slash || slash == text || slash + 1 == text + len) {
        luaL_error(L, "a target is written provider/model, not '%s'", text);
        abort(); /* luaL_error does not return, which only Lua knows */
    }
    struct slice provider = {text, (size_t)(slash - text)};
    target.name = (struct slice){text, len};
    target.model = (struct slice){slash + 1, len - provider.len - 1};
    target.provider = config_provider(&policy->generation->config, provider);
    if (!target.provider) {
        no_provider(L, policy->generation, provider);
        abort(); /* it does not return either */
    }
    return target;
}

/* A target written provider slash star stands for the client's model: its whole name then. */
static void resolve(const struct policy *policy, const struct target *target, struct buf *name)
{
    if (!slice_is(target->model, "*")) {
        buf_add(name, target->name);
        return;
    }
    buf_add(name, (struct slice){target->name.ptr, target->name.len - 1});
    buf_add(name, policy->request->model);
}

/* Whether the target may be tried now; why not, and until when. */
static bool is_available(const struct policy *policy, const struct target *target,
                         struct limits_wait *wait)
{
    bool is_any = slice_is(target->model, "*");

    return ration_check(policy->generation->limits, target->provider,
                        is_any ? policy->request->model : target->model, policy->request->body,
                        wait);
}

static double seconds_of(const struct limits_wait *wait)
{
    return (double)(wait->until_us - loop_now_us()) / 1e6;
}

static void note_wait(struct policy *policy, const struct limits_wait *wait)
{
    if (policy->soonest_us > loop_now_us() && policy->soonest_us <= wait->until_us)
        return;
    policy->soonest_us = wait->until_us;
    memcpy(policy->cooling_reason, wait->reason, sizeof policy->cooling_reason);
}

/* req:available(targets) -> list of those that are not cooling and have something left, in order;
 * where it is empty, the seconds until the first is back */
int lua_send_available(lua_State *L)
{
    struct policy *policy = lua_request_check(L);
    int64_t soonest_us = 0;
    int kept = 0;

    luaL_checktype(L, 2, LUA_TTABLE);
    lua_settop(L, 2);
    int count = (int)lua_objlen(L, 2);
    lua_createtable(L, count, 0); /* [req, targets, list] */
    for (int i = 1; i <= count; i++) {
        struct limits_wait wait;
        lua_rawgeti(L, 2, i);
        struct target target = check_target(L, -1, policy);
        if (is_available(policy, &target, &wait)) {
            lua_rawseti(L, 3, ++kept);
        } else {
            note_wait(policy, &wait);
            if (!soonest_us || wait.until_us < soonest_us)
                soonest_us = wait.until_us;
            lua_pop(L, 1);
        }
    }
    if (kept || !soonest_us)
        return 1;
    lua_pushnumber(L, (double)(soonest_us - loop_now_us()) / 1e6);
    return 2;
}

/* ---- sending ---- */

/* Responses of earlier sends that nobody returned are not wanted any more. */
static void drop_earlier(struct policy *policy)
{
    for (struct lua_response *r = policy->responses; r; r = r->next) {
        void *attempt = r->attempt;
        r->attempt = NULL;
        if (attempt)
            policy->host->on_attempt_dropped(policy->host_arg, attempt);
    }
}

struct copy { /* of the body, for one attempt */
    struct buf text;
    struct body body;
    struct body_edits edits;
};

static void copy_free(struct copy *copy)
{
    body_fini(&copy->body);
    body_edits_free(&copy->edits);
    buf_free(&copy->text);
}

/* The edit function is on top.  Runs it over a copy of the body as the policy left it; raises
 * when it fails. */
static void edit_copy(lua_State *L, struct policy *policy, struct copy *copy)
{
    struct body_fault fault;

    body_write(policy->request->body, &policy->edits, &copy->text);
    if (body_init(&copy->body, buf_slice(&copy->text), &fault)) {
        copy_free(copy);
        luaL_error(L, "req.body: %s", fault.message);
    }
    int ref = lua_body_new(L, &copy->body);
    lua_body_push(L, ref);
    bool ok = lua_pcall(L, 1, 0, 0) == 0 && lua_body_collect(L, ref, &copy->edits);
    lua_body_close(L, ref);
    if (!ok) {
        copy_free(copy);
        lua_error(L);
    }
}

static int64_t price_in(lua_State *L, const char *name)
{
    return (int64_t)lua_number_in(L, -1, name, 0);
}

/* What a target's tokens cost, as lua/weir/price.lua knows it.  That is Lua, which may raise. */
static struct bill_price price_of(lua_State *L, const struct policy *policy,
                                  const struct policy_send *send)
{
    struct bill_price price = {0};

    if (!policy->request->bill)
        return price;
    lua_push_runtime(L, "price");
    lua_pushstring(L, send->provider->name);
    lua_pushstring(L, send->provider->type);
    lua_pushlstring(L, send->model.ptr, send->model.len);
    lua_call(L, 3, 1);
    if (lua_istable(L, -1))
        price =
            (struct bill_price){price_in(L, "input"), price_in(L, "cached"), price_in(L, "output"),
                                price_in(L, "reasoning"), price_in(L, "own") != 0};
    lua_pop(L, 1);
    return price;
}

struct sending { /* a send that is prepared, and what it borrows */
    struct policy_send send;
    struct copy copy;
    struct buf name;
    bool insists; /* although the target cools */
};

static void sending_free(struct sending *sending)
{
    buf_free(&sending->name);
    copy_free(&sending->copy);
}

/* Reads (req, target, options); raises for what is wrong, and nothing was sent then. */
static void prepare(lua_State *L, struct policy *policy, struct sending *sending)
{
    struct target target = check_target(L, 2, policy);
    struct policy_send *send = &sending->send;

    *send = (struct policy_send){
        .provider = target.provider,
        .timeout = target.provider->timeout,
        .body = policy->request->body,
        .edits = &policy->edits,
    };
    if (++policy->sends > SENDS_MAX)
        luaL_error(L, "a request may be sent %d times at most", SENDS_MAX);
    send->model = slice_is(target.model, "*") ? policy->request->model : target.model;
    send->price = price_of(L, policy, send);
    lua_options_read(L, 3, send, &sending->insists);
    if (policy->body_ref != LUA_NOREF && !lua_body_collect(L, policy->body_ref, &policy->edits))
        lua_error(L);
    if (!lua_isnil(L, -1)) {
        edit_copy(L, policy, &sending->copy);
        send->body = &sending->copy.body;
        send->edits = &sending->copy.edits;
    }
    resolve(policy, &target, &sending->name);
    send->target = buf_slice(&sending->name);
}

/* Takes what the attempt needs of its target's limits; the last thing before it is sent, since
 * nothing may raise in between. */
static bool take(struct policy *policy, struct policy_send *send, bool insists,
                 struct limits_wait *wait)
{
    return ration_take(policy->generation->limits, send->provider, send->model, send->body, insists,
                       &send->grant, wait);
}

static const char *word_for(enum limits_block block)
{
    switch (block) {
    case LIMITS_COOLS: return "it cools";
    case LIMITS_PROBED: return "its cooldown is over and another attempt finds out";
    case LIMITS_SPENT: return "a limit of it is spent";
    case LIMITS_FULL: return "as many requests run as may run at once";
    case LIMITS_FREE: break;
    }
    return "it is not free";
}

/* nil, err: nobody was asked. */
static int push_refusal(lua_State *L, struct policy *policy, struct slice target,
                        const struct limits_wait *wait)
{
    bool is_limit = strcmp(wait->reason, "rate_limited") == 0;

    note_wait(policy, wait);
    lua_pushnil(L);
    lua_createtable(L, 0, 10);
    lua_set_text(L, "code", is_limit ? "rate_limited" : "overloaded");
    lua_set_text(L, "reason", wait->reason);
    lua_set_text(L, "scope", "model");
    lua_pushfstring(L, "the target is not asked: %s", word_for(wait->block));
    lua_setfield(L, -2, "message");
    lua_pushlstring(L, target.ptr, target.len);
    lua_setfield(L, -2, "target");
    lua_pushinteger(L, is_limit ? 429 : 503);
    lua_setfield(L, -2, "status");
    lua_pushnumber(L, seconds_of(wait));
    lua_setfield(L, -2, "retry_after");
    if (wait->dimension < QUOTA_COUNT)
        lua_set_text(L, "dimension", quota_name(wait->dimension));
    lua_pushboolean(L, 0);
    lua_setfield(L, -2, "final");
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "skipped");
    return 2;
}

/* nil, err: the budget does not reach for it. */
static int push_unpaid(lua_State *L, struct slice target, const struct bill_refusal *refusal)
{
    lua_pushnil(L);
    lua_createtable(L, 0, 8);
    lua_set_text(L, "code", refusal->code);
    lua_set_text(L, "scope", "request");
    lua_set_text(L, "message", refusal->message);
    lua_pushlstring(L, target.ptr, target.len);
    lua_setfield(L, -2, "target");
    lua_pushinteger(L, refusal->status);
    lua_setfield(L, -2, "status");
    if (refusal->retry_s) {
        lua_pushinteger(L, refusal->retry_s);
        lua_setfield(L, -2, "retry_after");
    }
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "final");
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "skipped");
    return 2;
}

/* Reserves what the attempt may cost, after take; false: it may not be made, and took nothing. */
static bool reserve(struct policy *policy, struct policy_send *send, struct bill_refusal *refusal)
{
    const struct config *config = &policy->generation->config;

    if (!policy->request->bill)
        return true;
    struct bill_need need =
        ration_need(send->body, send->edits, policy->request->endpoint, config->answer_tokens);
    if (bill_send(policy->request->bill, send->target, &send->price, need, &send->item, refusal))
        return true;
    grant_end(policy->generation->limits, &send->grant, 0, false, loop_now_us());
    return false;
}

/* req:send(target, options) -> res, or nil and err */
int lua_send_one(lua_State *L)
{
    struct policy *policy = lua_request_check_waiting(L, "req:send");
    struct sending sending = {0};
    struct bill_refusal refusal;
    struct limits_wait wait;

    prepare(L, policy, &sending);
    if (!take(policy, &sending.send, sending.insists, &wait)) {
        sending_free(&sending);
        return push_refusal(L, policy, check_target(L, 2, policy).name, &wait);
    }
    if (!reserve(policy, &sending.send, &refusal)) {
        sending_free(&sending);
        return push_unpaid(L, check_target(L, 2, policy).name, &refusal);
    }
    drop_earlier(policy);
    policy->state = POLICY_SENDING;
    policy->host->on_send(policy->host_arg, &sending.send);
    sending_free(&sending);
    return lua_yield(L, 0); /* policy_resume_answer or policy_resume_failure */
}

/* req:shadow(target, options) -> whether a copy left, which nobody waits for */
int lua_send_shadow(lua_State *L)
{
    struct policy *policy = lua_request_check_running(L, "req:shadow");
    struct target target = check_target(L, 2, policy);
    struct sending sending = {0};
    struct bill_refusal refusal;
    struct limits_wait wait;
    bool leaves = is_available(policy, &target, &wait);

    if (leaves) {
        prepare(L, policy, &sending);
        leaves =
            take(policy, &sending.send, false, &wait) && reserve(policy, &sending.send, &refusal);
        if (leaves)
            policy->host->on_shadow(policy->host_arg, &sending.send);
        sending_free(&sending);
    }
    lua_pushboolean(L, leaves);
    return 1;
}

/* ---- racing ---- */

/* req:race(targets, options) -> res, or nil and err */
int lua_send_race(lua_State *L)
{
    struct policy *policy = lua_request_check_waiting(L, "req:race");
    struct policy_send sends[RACE_MAX];
    struct buf names = {0};
    size_t ends[RACE_MAX];
    struct limits_wait wait;
    struct bill_refusal refusal;

    luaL_checktype(L, 2, LUA_TTABLE);
    double after = lua_options_read_race(L, 3);
    size_t count = lua_objlen(L, 2);
    if (count == 0 || count > RACE_MAX)
        return luaL_error(L, "a race takes 1 to %d targets, not %d", RACE_MAX, (int)count);
    policy->sends += (int)count;
    if (policy->sends > SENDS_MAX)
        return luaL_error(L, "a request may be sent %d times at most", SENDS_MAX);
    for (size_t i = 0; i < count; i++) {
        lua_rawgeti(L, 2, (int)i + 1);
        struct target target = check_target(L, -1, policy);
        sends[i] = (struct policy_send){
            .provider = target.provider,
            .timeout = target.provider->timeout,
            .body = policy->request->body,
            .edits = &policy->edits,
            .model = slice_is(target.model, "*") ? policy->request->model : target.model};
        lua_options_read_attempt(L, 3, &sends[i]);
        sends[i].price = price_of(L, policy, &sends[i]);
    }
    if (policy->body_ref != LUA_NOREF && !lua_body_collect(L, policy->body_ref, &policy->edits))
        return lua_error(L);
    for (size_t i = 0; i < count; i++) { /* nothing raises from here on */
        lua_rawgeti(L, 2, (int)i + 1);
        struct target target = check_target(L, -1, policy);
        resolve(policy, &target, &names);
        ends[i] = names.len;
    }
    for (size_t i = 0; i < count; i++) {
        size_t begin = i ? ends[i - 1] : 0;
        sends[i].target = (struct slice){names.ptr + begin, ends[i] - begin};
    }
    size_t first = 0; /* those before it may not be tried now */
    while (first < count && !take(policy, &sends[first], false, &wait))
        first++;
    if (first == count) {
        buf_free(&names);
        return push_refusal(L, policy, check_target(L, -1, policy).name, &wait);
    }
    if (!reserve(policy, &sends[first], &refusal)) {
        buf_free(&names);
        return push_unpaid(L, check_target(L, -1, policy).name, &refusal);
    }
    drop_earlier(policy);
    policy->state = POLICY_SENDING;
    policy->host->on_race(policy->host_arg, sends + first, count - first, after);
    buf_free(&names);
    return lua_yield(L, 0); /* policy_resume_answer or policy_resume_failure */
}
