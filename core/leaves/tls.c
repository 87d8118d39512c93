/* tls.c -- OpenSSL's server side, over bufferevents.
 *
 * bufferevent_openssl writes when its loop comes round to it, a record for each piece; a stream's
 * frame shall leave at once, and as one record.  So tls_write goes past it while its output is
 * empty.  A write that OpenSSL could not finish must be repeated with at least the same bytes: the
 * caller puts all of them into the output, where they are the first piece, and libevent repeats. */
/* SPDX-License-Identifier: MIT */
#include "tls.h"
#include "mem.h"
#include <event2/bufferevent.h>
#include <event2/bufferevent_ssl.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { SUBJECT_MAX = 128, TICKET_KEYS = 80 }; /* bytes; the latter is OpenSSL's */

struct tls {
    SSL_CTX *context; /* counts its connections itself */
    int64_t ends;
    char subject[SUBJECT_MAX];
};

static unsigned char ticket_keys[TICKET_KEYS];
static bool has_ticket_keys;

static bool take_certificates(struct tls *tls, struct slice text);
static bool take_key(struct tls *tls, struct slice text);

void tls_start(void)
{
    has_ticket_keys = getrandom(ticket_keys, sizeof ticket_keys, 0) == sizeof ticket_keys;
}

/* ---- contexts ---- */

/* HTTP/1.1 to whoever asks for it among others.  To who asks for others only it is a no, as RFC
 * 7301, 3.2 has it: an answer in a protocol that was not offered helps nobody. */
static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;

    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof ours - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static SSL_CTX *context_new(void)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (!context)
        abort();
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets do */
    if (has_ticket_keys)
        SSL_CTX_set_tlsext_ticket_keys(context, ticket_keys, sizeof ticket_keys);
    SSL_CTX_set_alpn_select_cb(context, on_alpn, NULL);
    return context;
}

static void say(struct buf *problem, const char *path, const char *what)
{
    buf_add_format(problem, "%s %s\n", path, what);
}

struct tls *tls_new(struct tls_file cert, struct tls_file key, struct buf *problem)
{
    struct tls *tls = mem_new(sizeof *tls);
    size_t before = problem->len;

    tls->context = context_new();
    if (!take_certificates(tls, cert.text))
        say(problem, cert.path, "holds no certificate in PEM");
    else if (!take_key(tls, key.text))
        say(problem, key.path, "holds no private key in PEM, or one with a password");
    else if (SSL_CTX_check_private_key(tls->context) != 1)
        buf_add_format(problem, "the key %s does not belong to the certificate %s\n", key.path,
                       cert.path);
    ERR_clear_error();
    if (problem->len == before)
        return tls;
    tls_free(tls);
    return NULL;
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    SSL_CTX_free(tls->context);
    mem_free(tls);
}

int64_t tls_ends(const struct tls *tls)
{
    return tls->ends;
}

const char *tls_subject(const struct tls *tls)
{
    return tls->subject;
}

/* ---- PEM ---- */

static BIO *open_text(struct slice text)
{
    BIO *bio = text.len && text.len < INT_MAX ? BIO_new_mem_buf(text.ptr, (int)text.len) : NULL;

    if (text.len && !bio)
        abort();
    return bio;
}

static void describe(struct tls *tls, X509 *leaf)
{
    struct tm end = {0};
    BIO *text = BIO_new(BIO_s_mem());

    if (ASN1_TIME_to_tm(X509_get0_notAfter(leaf), &end))
        tls->ends = timegm(&end);
    if (!text)
        abort();
    X509_NAME_print_ex(text, X509_get_subject_name(leaf), 0,
                       XN_FLAG_ONELINE & ~ASN1_STRFLGS_ESC_MSB);
    int len = BIO_read(text, tls->subject, SUBJECT_MAX - 1);
    tls->subject[len > 0 ? len : 0] = '\0';
    BIO_free(text);
}

static bool take_leaf(struct tls *tls, BIO *bio)
{
    X509 *leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    bool taken = leaf && SSL_CTX_use_certificate(tls->context, leaf) == 1;

    if (taken)
        describe(tls, leaf);
    X509_free(leaf);
    return taken;
}

static bool take_certificates(struct tls *tls, struct slice text)
{
    BIO *bio = open_text(text);
    bool taken = bio && take_leaf(tls, bio);
    X509 *next;

    while (taken && (next = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
        if (SSL_CTX_add0_chain_cert(tls->context, next) != 1)
            X509_free(next);
    BIO_free(bio);
    return taken;
}

/* OpenSSL would ask whoever sits before the terminal. */
static int no_password(char *text, int size, int is_writing, void *arg)
{
    return -1;
}

static bool take_key(struct tls *tls, struct slice text)
{
    BIO *bio = open_text(text);
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, no_password, NULL) : NULL;
    /* One that does not fit the certificate is refused here: the caller then looks why. */
    bool taken = key != NULL;

    if (taken && SSL_CTX_use_PrivateKey(tls->context, key) != 1)
        ERR_clear_error();
    EVP_PKEY_free(key);
    BIO_free(bio);
    return taken;
}

void tls_refuse_renegotiation(void *context)
{
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION);
}

/* ---- connections ---- */

struct bufferevent *tls_accept(struct tls *tls, struct event_base *base)
{
    SSL *ssl = SSL_new(tls->context);
    struct bufferevent *bev =
        ssl ? bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                             BEV_OPT_CLOSE_ON_FREE)
            : NULL;

    if (!bev)
        abort();
    bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    return bev;
}

/* An error shows when libevent repeats the write, or reads. */
bool tls_write(struct bufferevent *bev, struct slice bytes)
{
    size_t written;

    ERR_clear_error();
    return bytes.len == 0 ||
           SSL_write_ex(bufferevent_openssl_get_ssl(bev), bytes.ptr, bytes.len, &written) == 1;
}

bool tls_is_open(struct bufferevent *bev)
{
    return SSL_is_init_finished(bufferevent_openssl_get_ssl(bev));
}

void tls_end(struct bufferevent *bev)
{
    SSL *ssl = bufferevent_openssl_get_ssl(bev);

    ERR_clear_error();
    if (SSL_is_init_finished(ssl) && SSL_shutdown(ssl) < 0)
        ERR_clear_error(); /* the peer is gone, or takes nothing: it sees an end without a word */
}

const char *tls_fault(struct bufferevent *bev, bool *is_plain)
{
    unsigned long error = bufferevent_get_openssl_error(bev);
    const char *reason = error ? ERR_reason_error_string(error) : NULL;

    *is_plain = ERR_GET_LIB(error) == ERR_LIB_SSL && ERR_GET_REASON(error) == SSL_R_HTTP_REQUEST;
    return reason ? reason : "the connection closed";
}
