/* sha256.h -- the SHA-256 of a short text, as FIPS 180-4 defines it.
 *
 * Keys of the gateway's clients are kept and found by it, never as themselves. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "slice.h"

enum { SHA256_BYTES = 32 };

void sha256(struct slice text, unsigned char digest[SHA256_BYTES]);

/* Takes the same time wherever they differ. */
bool sha256_equal(const unsigned char *one, const unsigned char *other);
