/* lua_filter.c -- the committed response's filters: events and texts through Lua.
 *
 * The chain itself is lua/weir/filters.lua.  It runs as a coroutine, the same
 * one for all events of a stream, so that a filter may wait (weir.sleep): the
 * host then holds the stream back and resumes the chain later. */
/* SPDX-License-Identifier: MIT */
#include "leaves/log.h"
#include "leaves/mem.h"
#include "lua_core.h"

enum { OUT_MAX = 16 * 1024 * 1024 }; /* bytes that filters may make of one event */

struct lua_texts { /* a plain answer on its way through the filters, text by text */
    struct text_place *places;
    size_t count, at;
    struct buf out;
    const char *copied; /* of the body, so far */
};

bool policy_has_filters(const struct policy *policy)
{
    /* A filter that overran is not asked again, for each event of its stream would cost that. */
    return policy->committed && policy->committed->filters_ref != LUA_NOREF && !policy->overran &&
           !policy->goes_on;
}

static void log_error(struct policy *policy, lua_State *co)
{
    lua_State *L = policy->generation->L;
    const char *message = lua_tostring(co, -1);
    struct log_line line = log_begin(LOG_ERROR, "filter_error");

    luaL_traceback(L, co, message ? message : "an error that is no text", 0);
    log_str(&line, "id", policy->request->id);
    log_text(&line, "model", policy->request->model);
    log_str(&line, "code", lua_guard_code(policy->overran, "policy_error"));
    log_int(&line, "generation", policy->generation->number);
    log_str(&line, "error", lua_tostring(L, -1));
    log_end(&line);
    lua_settop(L, 0);
}

/* The chain returned: its results are the whole stack of the coroutine. */
static bool render_all(struct policy *policy, struct buf *out)
{
    lua_State *co = policy->co;
    size_t before = out->len;

    for (int i = 1; i <= lua_gettop(co); i++) {
        if (out->len - before > OUT_MAX) {
            lua_pushliteral(co, "filters made more than 16 MiB of one event");
            log_error(policy, co);
            return false;
        }
        if (lua_isnil(co, i) || lua_event_render(co, i, out))
            continue;
        lua_pushfstring(co, "a filter gives back an event, nothing, or a list of events, not a %s",
                        luaL_typename(co, i));
        log_error(policy, co);
        return false;
    }
    return true;
}

static enum policy_filtered resume(struct policy *policy, int args, struct buf *out)
{
    policy->state = POLICY_FILTERING;
    int status = lua_resume_policy(policy, args);

    if (status == LUA_YIELD)
        return POLICY_FILTER_WAITS;
    policy->state = POLICY_FINISHED;
    if (status) {
        log_error(policy, policy->co);
        lua_give_coroutine(policy, false);
        if (policy->overran == LUA_GUARD_MEMORY)
            lua_guard_recover(&policy->generation->guard);
        return POLICY_FILTER_FAILED;
    }
    bool ok = render_all(policy, out);
    lua_settop(policy->co, 0);
    return ok ? POLICY_FILTERED : POLICY_FILTER_FAILED;
}

/* [event] is on top of the generation's stack. */
static enum policy_filtered run(struct policy *policy, struct buf *out)
{
    lua_State *L = policy->generation->L;

    if (!policy->co)
        lua_take_coroutine(policy);
    luaL_checkstack(policy->co, 8, "no room");
    lua_push_runtime(L, "filter");
    lua_rawgeti(L, LUA_REGISTRYINDEX, policy->committed->filters_ref);
    lua_pushvalue(L, -3); /* [event, run, filters, event] */
    lua_xmove(L, policy->co, 3);
    lua_settop(L, 0);
    return resume(policy, 2, out);
}

enum policy_filtered policy_filter_event(struct policy *policy, const struct sse_event *event,
                                         const struct chunk *chunk, struct buf *out)
{
    lua_event_push(policy->generation->L, event, chunk);
    return run(policy, out);
}

/* ---- plain answers ---- */

static void add_place(void *arg, const struct text_place *place)
{
    struct lua_texts *texts = arg;

    texts->places = mem_resize(texts->places, (texts->count + 1) * sizeof *texts->places);
    texts->places[texts->count++] = *place;
}

static void texts_free(struct policy *policy)
{
    if (!policy->texts)
        return;
    mem_free(policy->texts->places);
    buf_free(&policy->texts->out);
    mem_free(policy->texts);
    policy->texts = NULL;
}

/* What was filtered of the text at hand is in out; on with the others. */
static enum policy_filtered filter_texts(struct policy *policy, struct buf *body)
{
    struct lua_texts *texts = policy->texts;
    lua_State *L = policy->generation->L;

    while (texts->at < texts->count) {
        const struct text_place *place = &texts->places[texts->at++];
        buf_add(&texts->out,
                (struct slice){texts->copied, (size_t)(place->inside.ptr - texts->copied)});
        texts->copied = place->inside.ptr + place->inside.len;
        lua_pushlstring(L, body->ptr, body->len);
        lua_event_push_text(L, place);
        enum policy_filtered filtered = run(policy, &texts->out);
        if (filtered != POLICY_FILTERED)
            return filtered;
    }
    buf_add(&texts->out,
            (struct slice){texts->copied, (size_t)(body->ptr + body->len - texts->copied)});
    buf_free(body);
    *body = texts->out;
    texts->out = (struct buf){0};
    return POLICY_FILTERED;
}

enum policy_filtered policy_filter_answer(struct policy *policy, struct buf *body)
{
    policy->texts = mem_new(sizeof *policy->texts);
    policy->texts->copied = body->ptr;
    texts_each(buf_slice(body), add_place, policy->texts);
    enum policy_filtered filtered = filter_texts(policy, body);
    if (filtered != POLICY_FILTER_WAITS)
        texts_free(policy);
    return filtered;
}

/* ---- after a wait ---- */

enum policy_filtered policy_filter_resume(struct policy *policy, struct buf *out)
{
    if (!policy->texts)
        return resume(policy, 0, out);

    enum policy_filtered filtered = resume(policy, 0, &policy->texts->out);
    if (filtered == POLICY_FILTERED)
        filtered = filter_texts(policy, out);
    if (filtered != POLICY_FILTER_WAITS)
        texts_free(policy);
    return filtered;
}

void lua_filter_close(struct policy *policy)
{
    texts_free(policy);
}
