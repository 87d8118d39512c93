/* sha256.c -- libcrypto's, made ready once: to look the algorithm up costs more than a key's
 * digest. */
/* SPDX-License-Identifier: MIT */
#include "sha256.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <stdlib.h>

static EVP_MD_CTX *hash;

/* Before the first digest, in each process that needs one: others shall not pay for libcrypto. */
static void prepare(void)
{
    EVP_MD *algorithm = EVP_MD_fetch(NULL, "SHA256", NULL);

    hash = EVP_MD_CTX_new();
    if (!algorithm || !hash || !EVP_DigestInit_ex2(hash, algorithm, NULL))
        abort(); /* as without memory: no libcrypto is without it */
    EVP_MD_free(algorithm);
}

void sha256(struct slice text, unsigned char digest[SHA256_BYTES])
{
    if (!hash)
        prepare();
    if (!EVP_DigestInit_ex2(hash, NULL, NULL) || !EVP_DigestUpdate(hash, text.ptr, text.len) ||
        !EVP_DigestFinal_ex(hash, digest, NULL))
        abort();
}

bool sha256_equal(const unsigned char *one, const unsigned char *other)
{
    return CRYPTO_memcmp(one, other, SHA256_BYTES) == 0;
}
