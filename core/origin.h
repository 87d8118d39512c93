/* origin.h -- one provider's base URL, and the headers that every request to it carries.
 *
 * The credential is among them: what holds it is wiped when it is freed. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "buf.h"
#include "slice.h"
#include <stddef.h>

struct origin;
struct peer;
struct peers;

/* headers: lines "name: value"; copied.  NULL when base_url is none of http or https. */
struct origin *origin_new(const char *base_url, const char *const *headers, size_t count);
void origin_free(struct origin *origin);          /* whoever uses it keeps what is needed of it */
struct origin *origin_use(struct origin *origin); /* the same, until origin_free */

/* A POST's request line and the headers of every request, as they are sent; borrowed while the
 * origin is used.  path: below the base URL; a literal, of few that there are. */
struct slice origin_head(struct origin *origin, const char *path);

const char *origin_name(const struct origin *origin); /* "https://api.example:8443"; borrowed */
struct peer *origin_peer(struct origin *origin, struct peers *peers); /* the origin's */

void origin_wipe(struct buf *head); /* frees a head that was sent */
