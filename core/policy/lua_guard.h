/* lua_guard.h -- how long Lua may run between yields, and how much memory its state may hold.
 *
 * A timer on the thread's own CPU clock ticks only while the thread burns CPU.  Whoever enters
 * Lua marks that with two stores; a tick that finds the same entry past its burst sets a hook,
 * which raises at the next instruction, and again until the entry is left: no pcall holds it up.
 * The allocator sets the same hook past the soft cap.  It knows nothing of policies. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct lua_State;

enum lua_guard_cause { LUA_GUARD_NONE, LUA_GUARD_TIMEOUT, LUA_GUARD_MEMORY };

struct lua_guard { /* one per Lua state; embedded in the generation */
    struct lua_State *L;
    int64_t burst_us;
    size_t soft, hard;    /* bytes; 0: no cap */
    size_t used;          /* bytes that the state holds */
    bool has_last_resort; /* the process ends when even the hook does not stop it */
    bool is_spent;        /* it met the hard cap, or is full when nothing runs: to be replaced */
    int cycles;           /* of the collector, still to go after a bomb */
    int64_t recover_us;   /* and not before this time (monotonic) */
    size_t entered;       /* bytes that it held when the entry began */
    bool is_refused;      /* this entry met the hard cap */
    int raised;           /* how often the hook has raised in this entry */
    bool is_left;         /* the coroutine that ran was left where it was: never resume it */
    volatile sig_atomic_t is_armed;
    volatile sig_atomic_t cause;
    const char *id;   /* of the request that is served, for the log; borrowed while Lua runs */
    char reason[256]; /* where and why, as it was first raised in this entry */
    char last[256];   /* of the last entry that overran */
};

enum {
    LUA_GUARD_HARD = 64 * 1024 * 1024, /* bytes of the hard cap above the soft one */
    LUA_GUARD_STATUS = 86,             /* the exit status of the last resort */
};

/* Loops of C that Lua can make long look at it, and raise: what they are in is over time. */
extern volatile sig_atomic_t lua_guard_is_over;

/* Starts the timer; once in each process that runs Lua, after the fork. */
void lua_guard_start(void);

/* Around all that runs Lua.  An entry within another one counts as part of it. */
void lua_guard_enter(struct lua_guard *guard);
enum lua_guard_cause lua_guard_leave(struct lua_guard *guard);

/* For the simulator, which serves requests from within an entry: what runs in between has
 * entries of its own.  Gives what resume wants. */
uint32_t lua_guard_suspend(void);
void lua_guard_resume(struct lua_guard *guard, uint32_t depth);

/* After an entry that met a cap, once what it held is let go of: from now on collects. */
void lua_guard_recover(struct lua_guard *guard);

/* A lua_Alloc but for its first argument. */
void *lua_guard_allocate(struct lua_guard *guard, void *ptr, size_t old_size, size_t size);

/* Raises when the entry is over time: for loops of C, now and then. */
void lua_guard_check(struct lua_State *L);

/* "policy_timeout", "policy_memory", or otherwise. */
const char *lua_guard_code(enum lua_guard_cause cause, const char *otherwise);

/* What the client is told of it. */
const char *lua_guard_sentence(enum lua_guard_cause cause, const char *otherwise);
