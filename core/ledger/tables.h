/* tables.h -- the ledger's tables, as this version has them. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/err.h"
#include <stdbool.h>

struct buf;
struct sqlite3;

/* Whether this version knows what is there, which may be nothing yet; else why not, in problem. */
MUST_CHECK bool tables_check(struct sqlite3 *db, struct buf *problem);

/* Makes what is not there; false: see sqlite3_errmsg. */
MUST_CHECK bool tables_make(struct sqlite3 *db);
