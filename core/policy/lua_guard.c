/* lua_guard.c -- one timer, one signal, one hook.
 *
 *   enter --------------------------------> leave
 *     |         tick          tick            ^
 *     |          v             v              |
 *     |       first seen ... past its burst: hook -> raises, again and again
 *     |                        |
 *     |                        + pcalls within pcalls, each of which catches it, are left
 *     |                        |    where they are: the coroutine yields, and is dropped
 *     |                        + 1 s: the process ends, for no hook stops it
 *
 * Hooks belong to a whole Lua state, coroutines and all, so that it does not matter which of
 * them runs.  Compiled code would not look at them: the JIT compiler is off. */
/* SPDX-License-Identifier: MIT */
#include "lua_guard.h"
#include "leaves/log.h"
#include "leaves/mem.h"
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    CYCLES = 4,                   /* of the collector, after which what is left is no garbage */
    STEP_KIB = 64,                /* of collecting, between looks at the clock */
    SLICE_US = 2000,              /* of collecting after an entry */
    PAUSE_US = 10 * 1000,         /* after an overrun, in which others get their turn */
    RAISED_MAX = 64,              /* raising costs microseconds, and pcalls may be 16,000 deep */
    SPARE = 1024 * 1024,          /* bytes that each entry has beside a bomb's leavings */
    TICK_US = 5 * 1000,           /* 200 signals in a second of CPU cost 0.05 % */
    LAST_RESORT_US = 1000 * 1000, /* past the burst: then the worker is replaced */
    FULL_EIGHTHS = 7,             /* of the soft cap, still held after a collection: full */
};

volatile sig_atomic_t lua_guard_is_over;

static struct {
    pid_t started; /* the process whose timer runs */
    struct lua_guard *volatile running;
    volatile uint32_t entry; /* counts entries */
    uint32_t depth;
    uint32_t seen;   /* the entry that the last tick met; the handler's */
    int64_t seen_us; /* and when, by the thread's CPU clock */
} now;

static void on_hook(lua_State *L, lua_Debug *info);
static void recover_some(struct lua_guard *guard);

/* ---- the tick ---- */

static int64_t clock_us(clockid_t clock)
{
    struct timespec at;

    clock_gettime(clock, &at);
    return (int64_t)at.tv_sec * 1000000 + at.tv_nsec / 1000;
}

static int64_t cpu_us(void)
{
    return clock_us(CLOCK_THREAD_CPUTIME_ID);
}

static void arm(struct lua_guard *guard, enum lua_guard_cause cause)
{
    if (!guard->is_armed || cause == LUA_GUARD_TIMEOUT)
        guard->cause = cause;
    guard->is_armed = 1;
    lua_sethook(guard->L, on_hook, LUA_MASKCOUNT, 1);
}

/* Some loop of C that looks at nothing.  The log allocates nothing, and whoever is
 * interrupted here never goes on. */
static void end_process(const struct lua_guard *guard)
{
    struct log_line line = log_begin(LOG_ERROR, "policy_stuck");

    log_str(&line, "id", guard->id);
    log_str(&line, "message", "Lua ran on for a second past its burst: this worker is replaced");
    log_end(&line);
    _exit(LUA_GUARD_STATUS);
}

/* In the signal.  lua_sethook may be called here: it writes a few words, and the interpreter
 * reads them at its next instruction. */
static void on_tick(int number, siginfo_t *info, void *context)
{
    struct lua_guard *guard = now.running;
    int error = errno;

    if (!guard || info->si_code != SI_TIMER)
        return;
    int64_t at_us = cpu_us();
    if (now.seen != now.entry) {
        now.seen = now.entry;
        now.seen_us = at_us;
    } else if (at_us - now.seen_us >= guard->burst_us) {
        lua_guard_is_over = 1;
        arm(guard, LUA_GUARD_TIMEOUT); /* each time: a finalizer may have put the old mask back */
        if (guard->has_last_resort && at_us - now.seen_us >= guard->burst_us + LAST_RESORT_US)
            end_process(guard);
    }
    errno = error;
}

void lua_guard_start(void)
{
    struct sigaction action = {.sa_sigaction = on_tick, .sa_flags = SA_SIGINFO | SA_RESTART};
    struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGUSR2};
    struct itimerspec every = {{0, TICK_US * 1000}, {0, TICK_US * 1000}};
    timer_t timer;

    if (now.started == getpid())
        return;
    now.started = getpid(); /* a child inherits no timer */
    sigaction(SIGUSR2, &action, NULL);
    event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, &timer) ||
        timer_settime(timer, 0, &every, NULL)) {
        struct log_line line = log_begin(LOG_ERROR, "no_policy_timer");
        log_str(&line, "error", strerror(errno));
        log_end(&line);
    }
}

/* ---- what the hook does ---- */

static void say_reason(struct lua_guard *guard, lua_State *L)
{
    luaL_where(L, 0);
    if (guard->cause == LUA_GUARD_TIMEOUT)
        snprintf(guard->reason, sizeof guard->reason,
                 "%spolicy_timeout: Lua ran for more than %d ms without waiting",
                 lua_tostring(L, -1), (int)(guard->burst_us / 1000));
    else
        snprintf(guard->reason, sizeof guard->reason,
                 "%spolicy_memory: the policies' Lua holds more than %zu KiB", lua_tostring(L, -1),
                 guard->soft / 1024);
    lua_pop(L, 1);
}

static bool is_full(const struct lua_guard *guard)
{
    return guard->soft && guard->used > guard->soft / 8 * FULL_EIGHTHS;
}

/* Collects on, in small steps, until so many cycles have ended, it is over time, or what is held
 * is much less than the cap.  LuaJIT's own buffer for building strings shrinks by half a cycle. */
static void collect(struct lua_guard *guard, lua_State *L)
{
    for (int cycles = CYCLES; cycles && guard->used > guard->soft / 2 && !lua_guard_is_over;)
        cycles -= lua_gc(L, LUA_GCSTEP, STEP_KIB);
}

/* What is over the cap may be garbage that the collector has not come to yet. */
static bool is_mere_garbage(struct lua_guard *guard, lua_State *L)
{
    if (guard->cause != LUA_GUARD_MEMORY || guard->is_refused)
        return false;
    collect(guard, L);
    return !is_full(guard) && guard->cause == LUA_GUARD_MEMORY;
}

static void on_hook(lua_State *L, lua_Debug *info)
{
    struct lua_guard *guard = now.running;

    if (!guard)
        return;
    if (!guard->reason[0]) {
        if (is_mere_garbage(guard, L)) {
            guard->is_armed = guard->cause = 0;
            lua_sethook(L, NULL, 0, 0); /* a tick that came meanwhile comes again */
            return;
        }
        say_reason(guard, L);
    }
    if (guard->raised++ >= RAISED_MAX && lua_isyieldable(L)) {
        guard->is_left = true;
        lua_yield(L, 0);
        return;
    }
    lua_pushstring(L, guard->reason);
    lua_error(L);
}

void lua_guard_check(lua_State *L)
{
    if (lua_guard_is_over && now.running)
        on_hook(L, NULL);
}

/* ---- entries ---- */

void lua_guard_enter(struct lua_guard *guard)
{
    if (now.depth++)
        return;
    now.entry++;
    guard->entered = guard->used;
    now.running = guard;
}

static enum lua_guard_cause disarm(struct lua_guard *guard)
{
    enum lua_guard_cause cause = guard->cause;

    lua_sethook(guard->L, NULL, 0, 0);
    lua_guard_is_over = 0;
    guard->is_armed = 0;
    guard->cause = LUA_GUARD_NONE;
    guard->is_refused = false;
    guard->raised = 0;
    memcpy(guard->last, guard->reason, sizeof guard->last);
    if (guard->soft && guard->used > guard->soft / 2)
        lua_guard_recover(guard); /* of whatever cause: the next entry is not to pay for it */
    guard->reason[0] = '\0';
    return cause;
}

enum lua_guard_cause lua_guard_leave(struct lua_guard *guard)
{
    if (--now.depth)
        return guard->cause;
    now.running = NULL;
    if (guard->cycles)
        recover_some(guard);
    return guard->is_armed || guard->cause ? disarm(guard) : LUA_GUARD_NONE;
}

uint32_t lua_guard_suspend(void)
{
    uint32_t depth = now.depth;

    now.running = NULL;
    now.depth = 0;
    return depth;
}

void lua_guard_resume(struct lua_guard *guard, uint32_t depth)
{
    now.depth = depth;
    now.entry++;
    now.running = guard;
}

/* ---- memory ---- */

/* To collect at once what a bomb left would hold all others up: each entry adds a slice. */
void lua_guard_recover(struct lua_guard *guard)
{
    guard->cycles = CYCLES;
    guard->recover_us = clock_us(CLOCK_MONOTONIC) + PAUSE_US;
}

static void recover_some(struct lua_guard *guard)
{
    int64_t until_us = cpu_us() + SLICE_US;

    /* One step may be long: a table that a bomb made is walked at once.  Not in the turn of the
     * loop that the bomb has taken up already. */
    if (clock_us(CLOCK_MONOTONIC) < guard->recover_us)
        return;
    while (guard->cycles && cpu_us() < until_us)
        guard->cycles -= lua_gc(guard->L, LUA_GCSTEP, STEP_KIB);
    if (!guard->cycles && is_full(guard))
        guard->is_spent = true;
}

/* While a bomb's leavings wait to be collected, others are not to suffer for them. */
static size_t soft_cap(const struct lua_guard *guard)
{
    size_t raised = guard->soft + LUA_GUARD_HARD / 2, least = guard->entered + SPARE;

    return !guard->cycles ? guard->soft : raised > least ? raised : least;
}

/* Only what runs Lua may be refused: elsewhere nobody would catch the error. */
void *lua_guard_allocate(struct lua_guard *guard, void *ptr, size_t old_size, size_t size)
{
    if (size == 0) {
        guard->used -= old_size;
        mem_free(ptr);
        return NULL;
    }
    size_t used = guard->used + size - old_size;
    if (size > old_size && guard->soft && used > soft_cap(guard) && now.running == guard) {
        if (!guard->is_armed)
            arm(guard, LUA_GUARD_MEMORY);
        if (used > guard->hard) {
            guard->is_refused = guard->is_spent = true;
            return NULL;
        }
    }
    guard->used = used;
    return mem_resize(ptr, size);
}

const char *lua_guard_code(enum lua_guard_cause cause, const char *otherwise)
{
    switch (cause) {
    case LUA_GUARD_TIMEOUT: return "policy_timeout";
    case LUA_GUARD_MEMORY: return "policy_memory";
    case LUA_GUARD_NONE: break;
    }
    return otherwise;
}

const char *lua_guard_sentence(enum lua_guard_cause cause, const char *otherwise)
{
    switch (cause) {
    case LUA_GUARD_TIMEOUT:
        return "the gateway's policy ran for longer than it may; its log has the place under this "
               "request's id";
    case LUA_GUARD_MEMORY:
        return "the gateway's policy used more memory than it may; its log has the place under "
               "this request's id";
    case LUA_GUARD_NONE: break;
    }
    return otherwise;
}
