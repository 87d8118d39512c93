/* keys.h -- the virtual keys and their teams, in memory that all workers share.
 *
 * The clerk alone writes, from the ledger; workers look a key up by the SHA-256
 * of its text, and take no lock.  A key's and a team's place is their number in
 * the ledger.  It knows nothing of money spent: that is budget.h's. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/sha256.h"

enum {
    KEYS_MAX = 262144, /* keys and teams that the ledger may ever number, 0 not among them */
    KEYS_NAME = 64,    /* bytes, their NUL among them */
    KEYS_MODELS = 512,
    KEYS_LABELS = 512,
};

struct keys_account {   /* a key or a team; a plain value */
    int32_t number;     /* 0: none */
    int32_t team;       /* its number; 0: none */
    int64_t rpm, tpm;   /* 0: no such limit */
    int32_t concurrent; /* the same */
    bool has_budget;
    int64_t budget, warns_at; /* micro-dollars a window; warns_at: the soft limit, or the budget */
    int64_t expires_s;        /* wall clock; 0: never */
    int64_t store_s;          /* for which its texts are kept; 0: they are not stored */
    bool is_revoked, is_team;
    char name[KEYS_NAME];     /* from here on keys_look leaves out */
    char period[8];           /* of the budget: "day", "week", "month", "total" */
    char models[KEYS_MODELS]; /* names, each with a comma behind it; empty: any */
    char labels[KEYS_LABELS]; /* name=value, each with a newline behind it */
};

/* A number of Lua's as an account's; 0, which nobody has, for one that there is no room for. */
static inline int32_t keys_number(double id)
{
    return id > 0 && id < KEYS_MAX ? (int32_t)id : 0;
}

struct keys;

struct keys *keys_new(void); /* in memory that children share; aborts when there is none */
void keys_free(struct keys *keys);

/* The account whose key has this digest.  False: there is none, or it is revoked or expired; the
 * same is done in either case. */
bool keys_find(struct keys *keys, const unsigned char *digest, int64_t now_s,
               struct keys_account *account);

/* Neither revoked nor expired. */
bool keys_is_open(const struct keys_account *account, int64_t now_s);

/* False: no such number. */
bool keys_get(struct keys *keys, int32_t number, struct keys_account *account);

/* The same without its texts. */
bool keys_look(struct keys *keys, int32_t number, struct keys_account *account);

bool keys_allow(const struct keys_account *account, struct slice model);

/* ---- the clerk's ---- */

/* False: its number is none that there is room for. */
bool keys_put(struct keys *keys, const struct keys_account *account);

/* The digest is that account's key until then (0: for good); again: until is changed.  False:
 * there is no room. */
bool keys_put_digest(struct keys *keys, const unsigned char *digest, int32_t number,
                     int64_t until_s);
