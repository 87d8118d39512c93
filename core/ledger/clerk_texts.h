/* clerk_texts.h -- the clerk's part in stored texts: from the workers' rings into the archive, and
 * out of it when their time is over. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "archive.h"

struct clerk_texts;
struct keys;
struct rings;

/* Opens what is there in the data folder; it is made when the first text comes.  All borrowed. */
struct clerk_texts *clerk_texts_new(const char *folder, struct rings *rings, struct keys *keys);
void clerk_texts_free(struct clerk_texts *texts); /* accepts NULL */

/* Stores some of what workers have handed over, for a few milliseconds, as the ledger waits
 * meanwhile; once a second it removes what has ended.  What cannot be stored stays with workers,
 * who drop what finds no room. */
void clerk_texts_turn(struct clerk_texts *texts);
void clerk_texts_take(struct clerk_texts *texts); /* stores all of it */

/* For how many seconds the configuration allows to keep texts; 0: for none. */
int64_t clerk_texts_allowed(const struct clerk_texts *texts);
/* The account's texts, all that were handed over, end after so many seconds at the latest; 0: now.
 * False: it cannot be. */
bool clerk_texts_shorten(struct clerk_texts *texts, int32_t account, int64_t keep_s);
/* As archive_each, of all that was handed over. */
bool clerk_texts_each(struct clerk_texts *texts, struct slice request,
                      void (*visit)(void *arg, const struct archive_text *text,
                                    const struct archive_part *part),
                      void *arg);
