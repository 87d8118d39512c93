/* connection.c -- libcurl's multi interface, for connecting only.
 *
 * A handle that connects with CURLOPT_CONNECT_ONLY ends as soon as it is
 * connected.  A plain socket is then taken over, and the handle goes back to the
 * pool.  One with TLS stays with its handle, whose session encrypts; libcurl
 * finds it by a linear search through its multi handle's connections, so they
 * are spread over shards of at most SHARD_SIZE. */
/* SPDX-License-Identifier: MIT */
#include "connection.h"
#include "leaves/mem.h"
#include "leaves/tls.h"
#include "parsers/address.h"
#include <curl/curl.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    SHARD_SIZE = 64, /* handles one multi handle carries */
    POOL_MAX = 64,   /* idle easy handles; each is a few KiB */
};

struct shard {
    struct connections *all;
    CURLM *multi;
    struct event timer;
    size_t count;
    LIST_ENTRY(shard) link;
};

struct interest { /* libcurl's, in one descriptor, while it connects or resolves */
    struct event event;
    struct shard *shard;
    short wanted;
};

struct connection {
    struct connections *all;
    struct shard *shard; /* NULL: libcurl has nothing to do with it any more */
    CURL *easy;          /* likewise */
    const struct connection_owner *owner;
    void *arg;
    struct event event;
    evutil_socket_t fd; /* -1 before it is open */
    short wanted;       /* what event is registered for */
    bool public_only, was_private;
};

struct connections {
    struct event_base *base;
    LIST_HEAD(, shard) shards; /* in the order in which they are filled */
    CURL *pool[POOL_MAX];
    size_t pooled;
    curl_socket_t taken; /* not to be closed by libcurl, which lets go of it now */
};

static void connected(struct connection *connection, CURLcode code);

/* ---- libcurl's sockets and timers ---- */

static int on_close_socket(void *arg, curl_socket_t fd)
{
    struct connections *all = arg;

    return fd == all->taken ? 0 : close(fd);
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct connection *connection = arg;

    if (connection->public_only && !address_is_public(&address->addr)) {
        connection->was_private = true;
        return CURL_SOCKET_BAD;
    }
    curl_socket_t fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static void collect(struct shard *shard)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(shard->multi, &left))) {
        CURLcode code = message->data.result;
        char *private;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        connected((struct connection *)private, code);
    }
}

static void on_interest_ready(evutil_socket_t fd, short what, void *arg)
{
    struct shard *shard = ((struct interest *)arg)->shard;
    int running;

    curl_multi_socket_action(shard->multi, fd,
                             (what & EV_READ ? CURL_CSELECT_IN : 0) |
                                 (what & EV_WRITE ? CURL_CSELECT_OUT : 0),
                             &running);
    collect(shard);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct shard *shard = arg;
    int running;

    curl_multi_socket_action(shard->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(shard);
}

static int on_interest(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    struct shard *shard = arg;
    struct interest *interest = known;
    short wanted =
        (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0));

    if (what == CURL_POLL_REMOVE) {
        if (interest && interest->wanted)
            event_del(&interest->event);
        mem_free(interest);
        return 0;
    }
    if (!interest) {
        interest = mem_new(sizeof *interest);
        interest->shard = shard;
        curl_multi_assign(shard->multi, fd, interest);
    } else if (interest->wanted) {
        event_del(&interest->event);
    }
    event_assign(&interest->event, shard->all->base, fd, wanted | EV_PERSIST, on_interest_ready,
                 interest);
    event_add(&interest->event, NULL);
    interest->wanted = wanted;
    return 0;
}

static int on_timeout_wanted(CURLM *multi, long ms, void *arg)
{
    struct shard *shard = arg;

    if (ms < 0) {
        event_del(&shard->timer);
    } else if (ms == 0) {
        event_active(&shard->timer, EV_TIMEOUT, 0);
    } else {
        struct timeval wait = {ms / 1000, ms % 1000 * 1000};
        event_add(&shard->timer, &wait);
    }
    return 0;
}

/* ---- shards and handles ---- */

static struct shard *shard_new(struct connections *all, struct shard *last)
{
    struct shard *shard = mem_new(sizeof *shard);

    shard->all = all;
    shard->multi = curl_multi_init();
    if (!shard->multi)
        abort();
    event_assign(&shard->timer, all->base, -1, 0, on_timer, shard);
    curl_multi_setopt(shard->multi, CURLMOPT_SOCKETFUNCTION, on_interest);
    curl_multi_setopt(shard->multi, CURLMOPT_SOCKETDATA, shard);
    curl_multi_setopt(shard->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted);
    curl_multi_setopt(shard->multi, CURLMOPT_TIMERDATA, shard);
    curl_multi_setopt(shard->multi, CURLMOPT_MAXCONNECTS, (long)SHARD_SIZE * 2);
    if (last)
        LIST_INSERT_AFTER(last, shard, link);
    else
        LIST_INSERT_HEAD(&all->shards, shard, link);
    return shard;
}

static struct shard *shard_with_room(struct connections *all)
{
    struct shard *shard, *last = NULL;

    LIST_FOREACH(shard, &all->shards, link)
    {
        if (shard->count < SHARD_SIZE)
            return shard;
        last = shard;
    }
    return shard_new(all, last);
}

/* Amid a handshake that a provider asks for, TLS 1.2's, OpenSSL takes nothing to send, and libcurl
 * says only "not now": the socket has room all the time, and the loop would never rest. */
static CURLcode on_tls_context(CURL *easy, void *context, void *arg)
{
    tls_refuse_renegotiation(context);
    return CURLE_OK;
}

static bool has_openssl(void)
{
    const char *version = curl_version_info(CURLVERSION_NOW)->ssl_version;

    return version && strncmp(version, "OpenSSL", 7) == 0;
}

static CURL *easy_new(struct connections *all)
{
    CURL *easy = curl_easy_init();
    const char *trusted = getenv("SSL_CERT_FILE"); /* OpenSSL's own name for it */
    if (!easy)
        abort();
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* nothing from the environment */
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (trusted)
        curl_easy_setopt(easy, CURLOPT_CAINFO, trusted);
    if (has_openssl())
        curl_easy_setopt(easy, CURLOPT_SSL_CTX_FUNCTION, on_tls_context);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* never wait for a resolver thread */
    /* as much as one read gives: a record of TLS; the buffer itself is freed once connected */
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 16384L);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, all);
    return easy;
}

static CURL *easy_take(struct connections *all)
{
    return all->pooled ? all->pool[--all->pooled] : easy_new(all);
}

static void easy_give(struct connections *all, CURL *easy)
{
    if (all->pooled < POOL_MAX)
        all->pool[all->pooled++] = easy;
    else
        curl_easy_cleanup(easy);
}

/* libcurl closes what the handle has open, but for the socket that is taken from it. */
static void leave_libcurl(struct connection *connection, evutil_socket_t taken)
{
    struct connections *all = connection->all;

    if (!connection->easy)
        return;
    all->taken = taken;
    curl_multi_remove_handle(connection->shard->multi, connection->easy);
    all->taken = CURL_SOCKET_BAD;
    connection->shard->count--;
    easy_give(all, connection->easy);
    connection->shard = NULL;
    connection->easy = NULL;
}

/* ---- how connecting ends ---- */

static const struct outcome {
    CURLcode code;
    enum err err;
    const char *detail;
} outcomes[] = {
    {CURLE_COULDNT_RESOLVE_HOST, ERR_DNS, "the provider's name does not resolve"},
    {CURLE_COULDNT_CONNECT, ERR_REFUSED, "the connection was refused"},
    {CURLE_OPERATION_TIMEDOUT, ERR_TIMEOUT, "the connection took too long"},
    {CURLE_SSL_CONNECT_ERROR, ERR_TLS, "the TLS handshake failed"},
    {CURLE_PEER_FAILED_VERIFICATION, ERR_TLS, "the provider's certificate is not to be trusted"},
    {CURLE_SSL_CERTPROBLEM, ERR_TLS, "a TLS certificate problem"},
    {CURLE_SSL_CIPHER, ERR_TLS, "no TLS cipher in common"},
    {CURLE_SSL_CACERT_BADFILE, ERR_TLS, "the certificates of this machine cannot be read"},
    {CURLE_SEND_ERROR, ERR_RESET, "the connection broke"},
    {CURLE_RECV_ERROR, ERR_RESET, "the connection was reset"},
};

const char *connection_sentence(enum err err)
{
    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++)
        if (outcomes[i].err == err)
            return outcomes[i].detail;
    return "";
}

static void failed(struct connection *connection, CURLcode code)
{
    enum err err = ERR_REFUSED;
    const char *detail = "the connection could not be made";

    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++) {
        if (outcomes[i].code == code) {
            err = outcomes[i].err;
            detail = outcomes[i].detail;
        }
    }
    if (connection->was_private && err == ERR_REFUSED)
        detail = "the name leads to an address of a private network";
    leave_libcurl(connection, CURL_SOCKET_BAD);
    connection->owner->on_fail(connection->arg, err, detail);
}

static void connected(struct connection *connection, CURLcode code)
{
    curl_socket_t fd = CURL_SOCKET_BAD;
    char *scheme = NULL;

    if (code == CURLE_OK) {
        curl_easy_getinfo(connection->easy, CURLINFO_ACTIVESOCKET, &fd);
        curl_easy_getinfo(connection->easy, CURLINFO_SCHEME, &scheme);
    }
    if (fd == CURL_SOCKET_BAD) {
        failed(connection, code);
        return;
    }
    connection->fd = fd;
    if (scheme && strcasecmp(scheme, "http") == 0)
        leave_libcurl(connection, fd);
    connection->owner->on_open(connection->arg);
}

/* ---- the life of a connection ---- */

struct connection *connection_new(struct connections *all, const char *url, bool public_only,
                                  const struct connection_owner *owner, void *arg)
{
    struct connection *connection = mem_new(sizeof *connection);

    connection->all = all;
    connection->owner = owner;
    connection->arg = arg;
    connection->fd = -1;
    connection->public_only = public_only;
    connection->easy = easy_take(all);
    connection->shard = shard_with_room(all);
    connection->shard->count++;
    curl_easy_setopt(connection->easy, CURLOPT_PRIVATE, connection);
    curl_easy_setopt(connection->easy, CURLOPT_OPENSOCKETDATA, connection);
    curl_easy_setopt(connection->easy, CURLOPT_URL, url);
    curl_multi_add_handle(connection->shard->multi, connection->easy);
    return connection;
}

void connection_give(struct connection *connection, const struct connection_owner *owner, void *arg)
{
    connection->owner = owner;
    connection->arg = arg;
}

void connection_free(struct connection *connection)
{
    if (!connection)
        return;
    bool is_ours = !connection->easy && connection->fd >= 0;

    if (connection->wanted)
        event_del(&connection->event);
    leave_libcurl(connection, CURL_SOCKET_BAD);
    if (is_ours)
        close(connection->fd);
    mem_free(connection);
}

/* ---- bytes ---- */

static ssize_t result_of(CURLcode code, size_t count)
{
    if (code == CURLE_OK)
        return (ssize_t)count;
    errno = code == CURLE_AGAIN ? EAGAIN : ECONNRESET;
    return -1;
}

ssize_t connection_read(struct connection *connection, char *to, size_t room)
{
    size_t count = 0;

    if (!connection->easy)
        return recv(connection->fd, to, room, 0);
    CURLcode code = curl_easy_recv(connection->easy, to, room, &count);
    return result_of(code, count);
}

ssize_t connection_write(struct connection *connection, struct slice first, struct slice second)
{
    size_t count = 0;

    if (connection->easy) {
        struct slice part = first.len ? first : second;
        CURLcode code = curl_easy_send(connection->easy, part.ptr, part.len, &count);
        return result_of(code, count);
    }
    struct iovec parts[2] = {{(void *)first.ptr, first.len}, {(void *)second.ptr, second.len}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    return sendmsg(connection->fd, &message, MSG_NOSIGNAL);
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct connection *connection = arg;

    connection->owner->on_ready(connection->arg, what & EV_READ, what & EV_WRITE);
}

void connection_want(struct connection *connection, bool read, bool write)
{
    short wanted = (short)((read ? EV_READ : 0) | (write ? EV_WRITE : 0));

    if (wanted == connection->wanted)
        return;
    if (connection->wanted)
        event_del(&connection->event);
    connection->wanted = wanted;
    if (!wanted)
        return;
    event_assign(&connection->event, connection->all->base, connection->fd, wanted | EV_PERSIST,
                 on_ready, connection);
    event_add(&connection->event, NULL);
}

bool connection_is_quiet(struct connection *connection)
{
    char byte;

    if (connection->easy) /* a record may be read in part; a session ticket goes away by this */
        return connection_read(connection, &byte, 1) < 0 && errno == EAGAIN;
    return recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 && errno == EAGAIN;
}

bool connection_is_flushed(const struct connection *connection)
{
    int unsent = 0; /* or not acknowledged */

    return ioctl(connection->fd, SIOCOUTQ, &unsent) == 0 && unsent == 0;
}

bool connection_buffers(const struct connection *connection)
{
    return connection->easy != NULL;
}

/* ---- the whole ---- */

struct connections *connections_new(struct event_base *base)
{
    struct connections *all = mem_new(sizeof *all);

    if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, mem_lib_malloc, mem_free, mem_lib_realloc,
                             mem_lib_strdup, mem_lib_calloc))
        abort();
    all->base = base;
    all->taken = CURL_SOCKET_BAD;
    LIST_INIT(&all->shards);
    return all;
}

void connections_free(struct connections *all)
{
    struct shard *shard;

    while (all->pooled)
        curl_easy_cleanup(all->pool[--all->pooled]);
    while ((shard = LIST_FIRST(&all->shards))) {
        LIST_REMOVE(shard, link);
        event_del(&shard->timer);
        curl_multi_cleanup(shard->multi);
        mem_free(shard);
    }
    mem_free(all);
    curl_global_cleanup();
}
