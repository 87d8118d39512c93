/* origin.h -- one provider's base URL, and the headers that every request to it carries.
 *
 * The credential is among them: what holds it is wiped when it is freed. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/buf.h"
#include "leaves/slice.h"
#include <stddef.h>

struct origin;
struct peer;
struct peers;

/* A provider's, asked in JSON.  headers: lines "name: value"; copied.  NULL when base_url is none
 * of http or https. */
struct origin *origin_new(const char *base_url, const char *const *headers, size_t count);
/* Any server's, with these headers only.  public_only: as of connection_new. */
struct origin *origin_bare(const char *base_url, const char *const *headers, size_t count,
                           bool public_only);
void origin_free(struct origin *origin);          /* whoever uses it keeps what is needed of it */
struct origin *origin_use(struct origin *origin); /* the same, until origin_free */

/* The request line and the headers of every request, as they are sent; borrowed until the next
 * call.  method: a literal.  path: below the base URL; lives as long as the origin. */
struct slice origin_head(struct origin *origin, const char *method, const char *path);

const char *origin_name(const struct origin *origin); /* "https://api.example:8443"; borrowed */
bool origin_is_public_only(const struct origin *origin);
struct peer *origin_peer(struct origin *origin, struct peers *peers); /* the origin's */

void origin_wipe(struct buf *head); /* frees a head that was sent */
