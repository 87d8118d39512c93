/* upstream.c -- libcurl's multi interface, sharded.
 *
 * libcurl searches its connections to one host linearly, so one multi handle
 * with thousands of open streams makes every new request slow.  Transfers are
 * therefore spread over shards, each a multi handle of at most SHARD_SIZE, the
 * first with room taken, so that few streams share few pools of kept
 * connections.
 *
 * libcurl's callbacks only note what came; after curl_multi_socket_action has
 * returned the notes are delivered, from a clean context in which handlers may
 * start, cancel and pause as they like:
 *
 *   socket or timer event -> [libcurl: on_header, on_body, prereq] -> collect_done -> deliver */
/* SPDX-License-Identifier: MIT */
#include "upstream.h"
#include "loop.h"
#include "mem.h"
#include <curl/curl.h>
#include <errno.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/queue.h>
#include <unistd.h>

enum {
    SHARD_SIZE = 64,           /* transfers a multi handle carries; measured: docs/speed.md */
    SHARD_KEPT = 256,          /* idle connections one shard keeps */
    UNREAD_MAX = 64 * 1024,    /* bytes held before anybody reads */
    HEAD_MAX = 64 * 1024,      /* bytes of a response head */
    INFORMATIONAL_MAX = 8,     /* 1xx responses before the real one */
    POOL_MAX = 256,            /* idle easy handles; each is a few KiB */
    LINGER_US = 1000 * 1000,   /* for an answer that nobody needs */
    EXPECT_FROM = 1024 * 1024, /* libcurl's threshold for Expect: 100-continue */
    UPLOAD_FROM = 64 * 1024,   /* above this libcurl sends through a buffer of its own */
    UPLOAD_MAX = 512 * 1024,   /* bytes of that buffer */
    MAX_AGE_S = 50,            /* kept connections older than this are not used again */
};

struct shard {
    struct upstream *upstream;
    CURLM *multi;
    struct event timer;
    size_t count; /* transfers in it */
    LIST_ENTRY(shard) link;
};

struct socket { /* libcurl's interest in one descriptor */
    struct event event;
    struct shard *shard;
    short wanted;     /* what libcurl waits for now */
    short registered; /* what the loop waits for: kept when libcurl's interest rests */
    bool ours;        /* a connection: its end passes on_close_socket */
};

enum transfer_state {
    TRANSFER_LIVE,     /* somebody listens */
    TRANSFER_RELEASED, /* nobody listens; it may end by itself */
};

struct transfer {
    struct upstream *upstream;
    struct shard *shard; /* NULL once libcurl is done with it */
    CURL *easy;
    struct origin *origin;
    struct curl_slist *own_headers; /* nodes of this request; the last points into the origin's */
    const struct upstream_handler *handler;
    void *arg;
    int64_t release_us; /* when nobody wanted it any more */
    struct buf body;    /* of the request */
    struct buf head;    /* the final head's header lines, "name: value\n", names lower-case */
    struct buf in;      /* body bytes that nobody took yet */
    int64_t started_us;
    int64_t open_us;   /* how long connecting took; -1: is not connected */
    int status;        /* of the final head; 0 before */
    int informational; /* 1xx heads seen */
    CURLcode code;
    enum transfer_state state;
    bool head_done, head_told, open_told, done_told;
    bool reading;  /* the owner wants bytes */
    bool held;     /* libcurl was told to pause */
    bool has_new;  /* bytes came since on_bytes was last called */
    bool done;     /* code counts */
    bool dirty;    /* is on the list of those with something to tell */
    bool repeated; /* libcurl wanted to send the request a second time */
    TAILQ_ENTRY(transfer) tell;
    TAILQ_ENTRY(transfer) wait; /* among the held */
    TAILQ_ENTRY(transfer) link; /* among the live, or among the released */
};

struct upstream {
    struct event_base *base;
    LIST_HEAD(, shard) shards; /* in the order in which they are filled */
    struct socket **sockets;   /* by descriptor */
    size_t socket_count;
    CURL *pool[POOL_MAX];
    size_t pooled;
    TAILQ_HEAD(, transfer) told; /* with something to tell */
    TAILQ_HEAD(, transfer) live;
    TAILQ_HEAD(, transfer) released; /* oldest first */
    TAILQ_HEAD(, transfer) held;
    size_t active;
    struct event resume;       /* for the held, on a later turn */
    struct event deliver_soon; /* after calls from outside libcurl's own turns */
    struct event linger;
    bool delivering;
};

struct origin {
    unsigned users; /* its owner, and each transfer */
    char *base_url;
    struct curl_slist *headers;
    struct {
        const char *path;
        CURLU *url;
    } urls[8]; /* parsed once for each path asked for */
};

static void on_deliver(evutil_socket_t fd, short what, void *arg);
static void on_linger(evutil_socket_t fd, short what, void *arg);
static void note(struct transfer *transfer);
static void deliver(struct upstream *upstream);
static void resume_later(struct transfer *transfer);
static void transfer_free(struct transfer *transfer);

/* ---- origins ---- */

struct origin *origin_new(const char *base_url, const char *const *headers, size_t count)
{
    CURLU *probe = curl_url();
    CURLUcode bad = curl_url_set(probe, CURLUPART_URL, base_url, 0);
    curl_url_cleanup(probe);
    if (bad)
        return NULL;

    struct origin *origin = mem_new(sizeof *origin);
    origin->users = 1;
    size_t len = strlen(base_url);
    while (len && base_url[len - 1] == '/')
        len--;
    origin->base_url = mem_dup((struct slice){base_url, len});
    static const char *const always[] = {"Content-Type: application/json",
                                         "Expect:", "Accept: application/json, text/event-stream"};
    for (size_t i = 0; i < sizeof always / sizeof *always; i++)
        origin->headers = curl_slist_append(origin->headers, always[i]);
    for (size_t i = 0; i < count; i++)
        origin->headers = curl_slist_append(origin->headers, headers[i]);
    return origin;
}

void origin_free(struct origin *origin)
{
    if (!origin || --origin->users)
        return;
    for (size_t i = 0; i < sizeof origin->urls / sizeof *origin->urls; i++)
        curl_url_cleanup(origin->urls[i].url);
    for (struct curl_slist *line = origin->headers; line; line = line->next)
        explicit_bzero(line->data, strlen(line->data)); /* the credential is among them */
    curl_slist_free_all(origin->headers);
    mem_free(origin->base_url);
    mem_free(origin);
}

static CURLU *origin_url(struct origin *origin, const char *path)
{
    size_t i = 0;

    while (origin->urls[i].path && strcmp(origin->urls[i].path, path) != 0)
        i++;
    if (!origin->urls[i].path) {
        struct buf text = {0};
        buf_add_format(&text, "%s%s", origin->base_url, path);
        buf_add_char(&text, '\0');
        origin->urls[i].path = path;
        origin->urls[i].url = curl_url();
        if (curl_url_set(origin->urls[i].url, CURLUPART_URL, text.ptr, 0))
            abort(); /* origin_new saw that the base parses */
        buf_free(&text);
    }
    return origin->urls[i].url;
}

/* ---- holding back: a fast stream takes turns with the others ---- */

/* libcurl reads up to 100 buffers in one call; more than UNREAD_MAX of that waits
 * for a later turn of the loop, and for an owner that reads. */
static void hold(struct transfer *transfer)
{
    if (transfer->held)
        return;
    transfer->held = true;
    TAILQ_INSERT_TAIL(&transfer->upstream->held, transfer, wait);
    resume_later(transfer);
}

static void let_go(struct transfer *transfer)
{
    if (!transfer->held)
        return;
    transfer->held = false;
    TAILQ_REMOVE(&transfer->upstream->held, transfer, wait);
}

static void resume_later(struct transfer *transfer)
{
    struct timeval now = {0, 0}; /* a timer, so that the sockets are looked at before */

    if (transfer->held && transfer->reading)
        event_add(&transfer->upstream->resume, &now);
}

static void on_resume(evutil_socket_t fd, short what, void *arg)
{
    struct upstream *upstream = arg;
    struct transfer *transfer, *next;

    for (transfer = TAILQ_FIRST(&upstream->held); transfer; transfer = next) {
        next = TAILQ_NEXT(transfer, wait);
        if (!transfer->reading || transfer->in.len >= UNREAD_MAX)
            continue;
        let_go(transfer);
        curl_easy_pause(transfer->easy, CURLPAUSE_CONT); /* may call on_body at once */
    }
    deliver(upstream);
}

/* ---- libcurl's callbacks: they only note ---- */

/* The second call for one transfer means that libcurl is about to repeat the
 * POST on a fresh connection, the kept one having died unanswered.  The
 * provider may have served the first, so the policy decides, not libcurl. */
static int on_prereq(void *arg, char *remote, char *local, int remote_port, int local_port)
{
    struct transfer *transfer = arg;

    if (transfer->open_us >= 0) {
        transfer->repeated = true;
        return CURL_PREREQFUNC_ABORT;
    }
    transfer->open_us = loop_now_us() - transfer->started_us;
    note(transfer);
    return CURL_PREREQFUNC_OK;
}

/* The three digits of a status line, or 0. */
static int status_of(const char *line, size_t len)
{
    const char *space = memchr(line, ' ', len);
    int status = 0;

    if (!space || line + len - space < 4)
        return 0;
    for (int i = 1; i <= 3; i++) {
        if (space[i] < '0' || space[i] > '9')
            return 0;
        status = status * 10 + (space[i] - '0');
    }
    return status;
}

/* Keeps "Name: value" as "name: value\n". */
static void keep_header(struct transfer *transfer, const char *line, size_t len)
{
    while (len && (line[len - 1] == '\n' || line[len - 1] == '\r' || line[len - 1] == ' '))
        len--;
    const char *colon = memchr(line, ':', len);
    if (!colon)
        return;

    char *to = buf_reserve(&transfer->head, len + 1);
    size_t name = (size_t)(colon - line);
    for (size_t i = 0; i < name; i++)
        to[i] = (line[i] >= 'A' && line[i] <= 'Z') ? (char)(line[i] + 32) : line[i];
    memcpy(to + name, colon, len - name);
    to[len] = '\n';
    transfer->head.len += len + 1;
}

static size_t on_header(char *line, size_t size, size_t len, void *arg)
{
    struct transfer *transfer = arg;

    if (transfer->head_done) /* trailers come this way too, and may not rewrite the head */
        return len;
    if (len > 5 && memcmp(line, "HTTP/", 5) == 0) {
        transfer->status = status_of(line, len);
        buf_clear(&transfer->head);
        if (transfer->status < 200 && ++transfer->informational > INFORMATIONAL_MAX)
            return 0;
        return len;
    }
    if (transfer->head.len + len > HEAD_MAX)
        return 0;
    if (len > 2) {
        keep_header(transfer, line, len);
        return len;
    }
    if (transfer->status >= 200 || transfer->status == 101) { /* nobody asked to switch */
        transfer->head_done = true;
        note(transfer);
    }
    return len;
}

static size_t on_body(char *bytes, size_t size, size_t len, void *arg)
{
    struct transfer *transfer = arg;

    if (transfer->state == TRANSFER_RELEASED)
        return len;
    if (transfer->in.len >= UNREAD_MAX) {
        hold(transfer);
        return CURL_WRITEFUNC_PAUSE;
    }
    buf_add(&transfer->in, (struct slice){bytes, len});
    transfer->has_new = true;
    note(transfer);
    return len;
}

/* ---- sockets and timers ---- */

static struct socket *socket_at(struct upstream *upstream, curl_socket_t fd)
{
    size_t at = (size_t)fd;

    if (at >= upstream->socket_count) {
        size_t count = at * 2 + 64;
        upstream->sockets = mem_resize(upstream->sockets, count * sizeof *upstream->sockets);
        memset(upstream->sockets + upstream->socket_count, 0,
               (count - upstream->socket_count) * sizeof *upstream->sockets);
        upstream->socket_count = count;
    }
    if (!upstream->sockets[at])
        upstream->sockets[at] = mem_new(sizeof **upstream->sockets);
    return upstream->sockets[at];
}

static void socket_drop(struct upstream *upstream, curl_socket_t fd)
{
    struct socket *socket = socket_at(upstream, fd);

    if (socket->registered)
        event_del(&socket->event);
    mem_free(socket);
    upstream->sockets[fd] = NULL;
}

static curl_socket_t on_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
    curl_socket_t fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);

    if (fd >= 0)
        socket_at(arg, fd)->ours = true;
    return fd < 0 ? CURL_SOCKET_BAD : fd;
}

static int on_close_socket(void *arg, curl_socket_t fd)
{
    socket_drop(arg, fd);
    return close(fd);
}

static void collect_done(struct shard *shard);

static void shard_act(struct shard *shard, curl_socket_t fd, int what)
{
    struct upstream *upstream = shard->upstream;
    int running;

    curl_multi_socket_action(shard->multi, fd, what, &running);
    collect_done(shard);
    deliver(upstream);
}

static void on_ready(evutil_socket_t fd, short what, void *arg)
{
    struct socket *socket = arg;

    if (!socket->wanted) { /* a kept connection that its peer closed: libcurl sees it on reuse */
        event_del(&socket->event);
        socket->registered = 0;
        return;
    }
    shard_act(socket->shard, fd,
              (what & EV_READ ? CURL_CSELECT_IN : 0) | (what & EV_WRITE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    shard_act(arg, CURL_SOCKET_TIMEOUT, 0);
}

/* libcurl drops its interest at the end of each request and takes it up at the
 * next.  The registration of a connection of ours stays meanwhile, which saves
 * two epoll_ctl a request. */
static int on_interest(CURL *easy, curl_socket_t fd, int what, void *arg, void *unused)
{
    struct shard *shard = arg;
    struct upstream *upstream = shard->upstream;
    struct socket *socket = socket_at(upstream, fd);

    socket->shard = shard;
    socket->wanted =
        (short)((what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0));
    if (what == CURL_POLL_REMOVE) {
        socket->wanted = 0;
        if (!socket->ours)
            socket_drop(upstream, fd);
        return 0;
    }
    if (socket->registered == socket->wanted)
        return 0;
    if (socket->registered)
        event_del(&socket->event);
    event_assign(&socket->event, upstream->base, fd, socket->wanted | EV_PERSIST, on_ready, socket);
    event_add(&socket->event, NULL);
    socket->registered = socket->wanted;
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

static struct shard *shard_new(struct upstream *upstream)
{
    struct shard *shard = mem_new(sizeof *shard), *last, *next;

    shard->upstream = upstream;
    shard->multi = curl_multi_init();
    if (!shard->multi)
        abort();
    event_assign(&shard->timer, upstream->base, -1, 0, on_timer, shard);
    curl_multi_setopt(shard->multi, CURLMOPT_SOCKETFUNCTION, on_interest);
    curl_multi_setopt(shard->multi, CURLMOPT_SOCKETDATA, shard);
    curl_multi_setopt(shard->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wanted);
    curl_multi_setopt(shard->multi, CURLMOPT_TIMERDATA, shard);
    curl_multi_setopt(shard->multi, CURLMOPT_MAXCONNECTS, (long)SHARD_KEPT);
    curl_multi_setopt(shard->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);

    last = NULL;
    for (next = LIST_FIRST(&upstream->shards); next; next = LIST_NEXT(next, link))
        last = next;
    if (last)
        LIST_INSERT_AFTER(last, shard, link);
    else
        LIST_INSERT_HEAD(&upstream->shards, shard, link);
    return shard;
}

static struct shard *shard_with_room(struct upstream *upstream)
{
    struct shard *shard;

    LIST_FOREACH(shard, &upstream->shards, link)
    if (shard->count < SHARD_SIZE)
        return shard;
    return shard_new(upstream);
}

static CURL *easy_new(struct upstream *upstream)
{
    CURL *easy = curl_easy_init();
    if (!easy)
        abort();
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROXY, ""); /* nothing from the environment */
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* never wait for a resolver thread */
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)MAX_AGE_S);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_prereq);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, on_open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, upstream);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, upstream);
    return easy;
}

static CURL *easy_take(struct upstream *upstream)
{
    return upstream->pooled ? upstream->pool[--upstream->pooled] : easy_new(upstream);
}

static void easy_give(struct upstream *upstream, CURL *easy)
{
    if (upstream->pooled < POOL_MAX)
        upstream->pool[upstream->pooled++] = easy;
    else
        curl_easy_cleanup(easy);
}

/* ---- telling the owner ---- */

static void note(struct transfer *transfer)
{
    if (transfer->dirty || transfer->state == TRANSFER_RELEASED)
        return;
    transfer->dirty = true;
    TAILQ_INSERT_TAIL(&transfer->upstream->told, transfer, tell);
}

/* For what is noted outside libcurl's own turns. */
static void note_later(struct transfer *transfer)
{
    note(transfer);
    if (!transfer->upstream->delivering)
        event_active(&transfer->upstream->deliver_soon, EV_TIMEOUT, 0);
}

static void leave_shard(struct transfer *transfer)
{
    if (!transfer->shard)
        return;
    curl_multi_remove_handle(transfer->shard->multi, transfer->easy);
    transfer->shard->count--;
    transfer->shard = NULL;
}

static void collect_done(struct shard *shard)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(shard->multi, &left))) {
        char *private;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        struct transfer *transfer = (struct transfer *)private;
        leave_shard(transfer); /* message is gone from here on */
        transfer->code = code;
        transfer->done = true;
        if (transfer->state == TRANSFER_RELEASED)
            transfer_free(transfer);
        else
            note(transfer);
    }
}

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
    {CURLE_GOT_NOTHING, ERR_RESET, "the connection was closed without an answer"},
    {CURLE_SEND_ERROR, ERR_RESET, "the connection broke while the request was sent"},
    {CURLE_ABORTED_BY_CALLBACK, ERR_RESET, "a kept connection was closed without an answer"},
    {CURLE_PARTIAL_FILE, ERR_TRUNCATED, "the answer was cut short"},
    {CURLE_OUT_OF_MEMORY, ERR_BAD_RESPONSE, "a header of the answer is too long"},
};

const char *upstream_sentence(enum err err)
{
    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++)
        if (outcomes[i].err == err)
            return outcomes[i].detail;
    return "";
}

static enum err outcome_of(struct transfer *transfer, const char **detail)
{
    if (transfer->code == CURLE_OK && transfer->head_done)
        return ERR_OK;
    if (transfer->code == CURLE_OK) {
        *detail = "the answer ended inside its headers";
        return ERR_TRUNCATED;
    }
    if (transfer->code == CURLE_RECV_ERROR) {
        long number = 0; /* 56 also stands for bad chunk sizes, which no system call reports */
        curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &number);
        *detail = number ? "the connection was reset" : "the answer is not sound HTTP";
        return number ? ERR_RESET : ERR_BAD_RESPONSE;
    }
    for (size_t i = 0; i < sizeof outcomes / sizeof *outcomes; i++) {
        if (outcomes[i].code == transfer->code) {
            *detail = outcomes[i].detail;
            return outcomes[i].err;
        }
    }
    *detail = "the answer is not sound HTTP";
    return ERR_BAD_RESPONSE;
}

static void tell_done(struct transfer *transfer)
{
    const struct upstream_handler *handler = transfer->handler;
    void *arg = transfer->arg;
    const char *detail = "";
    enum err err = outcome_of(transfer, &detail);

    transfer->done_told = true;
    handler->on_done(arg, err, detail);
}

/* One thing at a time: a callback may end the transfer.  What is left to tell
 * is noted before, so that it is found again, or dropped with the transfer. */
static void tell(struct transfer *transfer)
{
    const struct upstream_handler *handler = transfer->handler;
    bool waits = transfer->in.len && transfer->has_new;

    if (transfer->open_us >= 0 && !transfer->open_told) {
        transfer->open_told = true;
        if (transfer->head_done || transfer->done)
            note(transfer);
        handler->on_open(transfer->arg, transfer->open_us);
    } else if (transfer->head_done && !transfer->head_told) {
        transfer->head_told = true;
        if (waits || transfer->done)
            note(transfer);
        handler->on_head(transfer->arg, transfer->status);
    } else if (waits && transfer->reading) {
        transfer->has_new = false;
        if (transfer->done)
            note(transfer);
        resume_later(transfer);
        handler->on_bytes(transfer->arg, &transfer->in);
    } else if (transfer->done && !waits && !transfer->done_told) {
        tell_done(transfer);
    }
}

static void deliver(struct upstream *upstream)
{
    struct transfer *transfer;

    if (upstream->delivering)
        return;
    upstream->delivering = true;
    while ((transfer = TAILQ_FIRST(&upstream->told))) {
        TAILQ_REMOVE(&upstream->told, transfer, tell);
        transfer->dirty = false;
        tell(transfer);
    }
    upstream->delivering = false;
}

static void on_deliver(evutil_socket_t fd, short what, void *arg)
{
    deliver(arg);
}

/* ---- the life of a transfer ---- */

/* This request's own headers, in front of the origin's.  An empty Expect keeps
 * libcurl from waiting for a 100 before a large body. */
static struct curl_slist *headers_of(struct transfer *transfer,
                                     const struct upstream_request *request)
{
    bool is_large = transfer->body.len >= EXPECT_FROM;
    size_t count = request->header_count + is_large;

    if (!count)
        return request->origin->headers;
    struct curl_slist *nodes = mem_new(count * sizeof *nodes);
    for (size_t i = 0; i < count; i++) {
        struct buf line = {0};
        if (i < request->header_count)
            buf_add_format(&line, "%s: %s", request->headers[i].name, request->headers[i].value);
        else
            buf_add_text(&line, "Expect:");
        nodes[i].data = mem_dup(buf_slice(&line));
        nodes[i].next = i + 1 < count ? &nodes[i + 1] : request->origin->headers;
        buf_free(&line);
    }
    transfer->own_headers = nodes;
    return nodes;
}

static void headers_free(struct curl_slist *nodes, const struct transfer *transfer)
{
    if (!nodes)
        return;
    for (size_t i = 0;; i++) {
        mem_free(nodes[i].data);
        if (nodes[i].next != &nodes[i + 1])
            break;
    }
    mem_free(nodes);
}

/* One write for the whole of a large body, where libcurl's default takes two and more. */
static void set_upload_buffer(CURL *easy, size_t len)
{
    if (len > UPLOAD_FROM)
        curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE,
                         (long)(len < UPLOAD_MAX ? len : UPLOAD_MAX));
}

/* Setting the size makes libcurl give the buffer back. */
static void drop_upload_buffer(CURL *easy, size_t len)
{
    if (len > UPLOAD_FROM)
        curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)UPLOAD_FROM);
}

struct transfer *upstream_start(struct upstream *upstream, const struct upstream_request *request,
                                const struct upstream_handler *handler, void *arg)
{
    struct transfer *transfer = mem_new(sizeof *transfer);
    CURL *easy = easy_take(upstream);

    transfer->upstream = upstream;
    transfer->easy = easy;
    transfer->origin = request->origin;
    transfer->origin->users++;
    transfer->handler = handler;
    transfer->arg = arg;
    transfer->open_us = -1;
    transfer->started_us = loop_now_us();
    transfer->body = *request->body;
    *request->body = (struct buf){0};
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_PREREQDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_CURLU, origin_url(request->origin, request->path));
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers_of(transfer, request));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, transfer->body.ptr);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)transfer->body.len);

    set_upload_buffer(easy, transfer->body.len);

    transfer->shard = shard_with_room(upstream);
    transfer->shard->count++;
    upstream->active++;
    TAILQ_INSERT_TAIL(&upstream->live, transfer, link);
    curl_multi_add_handle(transfer->shard->multi, easy);
    return transfer;
}

static void transfer_free(struct transfer *transfer)
{
    struct upstream *upstream = transfer->upstream;

    let_go(transfer);
    leave_shard(transfer);
    drop_upload_buffer(transfer->easy, transfer->body.len);
    easy_give(upstream, transfer->easy);
    if (transfer->dirty)
        TAILQ_REMOVE(&upstream->told, transfer, tell);
    if (transfer->state == TRANSFER_RELEASED)
        TAILQ_REMOVE(&upstream->released, transfer, link);
    else
        TAILQ_REMOVE(&upstream->live, transfer, link);
    upstream->active--;
    headers_free(transfer->own_headers, transfer);
    origin_free(transfer->origin);
    buf_free(&transfer->body);
    buf_free(&transfer->head);
    buf_free(&transfer->in);
    mem_free(transfer);
}

void upstream_read(struct transfer *transfer)
{
    if (transfer->reading)
        return;
    transfer->reading = true;
    if (transfer->in.len)
        transfer->has_new = true;
    if (transfer->in.len || transfer->done)
        note_later(transfer);
    resume_later(transfer);
}

void upstream_pause(struct transfer *transfer)
{
    transfer->reading = false;
}

void upstream_cancel(struct transfer *transfer)
{
    if (transfer)
        transfer_free(transfer);
}

void upstream_release(struct transfer *transfer)
{
    struct upstream *upstream = transfer->upstream;

    if (transfer->done || transfer->held) {
        transfer_free(transfer);
        return;
    }
    if (transfer->dirty)
        TAILQ_REMOVE(&upstream->told, transfer, tell);
    transfer->dirty = false;
    TAILQ_REMOVE(&upstream->live, transfer, link);
    transfer->state = TRANSFER_RELEASED;
    transfer->release_us = loop_now_us();
    TAILQ_INSERT_TAIL(&upstream->released, transfer, link);
    struct timeval wait = {0, LINGER_US / 4};
    if (!event_pending(&upstream->linger, EV_TIMEOUT, NULL))
        event_add(&upstream->linger, &wait);
}

static void on_linger(evutil_socket_t fd, short what, void *arg)
{
    struct upstream *upstream = arg;
    int64_t before = loop_now_us() - LINGER_US;
    struct transfer *transfer;

    while ((transfer = TAILQ_FIRST(&upstream->released)) && transfer->release_us < before)
        transfer_free(transfer);
    struct timeval wait = {0, LINGER_US / 4};
    if (transfer)
        event_add(&upstream->linger, &wait);
}

/* ---- the head ---- */

bool upstream_next_header(const struct transfer *transfer, size_t *at, struct slice *name,
                          struct slice *value)
{
    if (*at >= transfer->head.len)
        return false;
    const char *line = transfer->head.ptr + *at;
    const char *end = memchr(line, '\n', transfer->head.len - *at);
    const char *colon = memchr(line, ':', (size_t)(end - line));

    *at += (size_t)(end - line) + 1;
    *name = (struct slice){line, (size_t)(colon - line)};
    colon++;
    while (colon < end && (*colon == ' ' || *colon == '\t'))
        colon++;
    *value = (struct slice){colon, (size_t)(end - colon)};
    return true;
}

struct slice upstream_header(const struct transfer *transfer, const char *wanted)
{
    struct slice name, value;
    size_t at = 0;

    while (upstream_next_header(transfer, &at, &name, &value))
        if (slice_is(name, wanted))
            return value;
    return (struct slice){NULL, 0};
}

void upstream_slim(struct transfer *transfer)
{
    curl_off_t sent = 0;

    buf_free(&transfer->head);
    curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &sent);
    if (sent >= (curl_off_t)transfer->body.len) {
        drop_upload_buffer(transfer->easy, transfer->body.len);
        buf_free(&transfer->body);
    }
}

bool upstream_was_sent(const struct transfer *transfer)
{
    return transfer->open_us >= 0;
}

/* ---- the whole ---- */

struct upstream *upstream_new(struct event_base *base)
{
    struct upstream *upstream = mem_new(sizeof *upstream);

    if (curl_global_init_mem(CURL_GLOBAL_DEFAULT, mem_lib_malloc, mem_free, mem_lib_realloc,
                             mem_lib_strdup, mem_lib_calloc))
        abort();
    upstream->base = base;
    LIST_INIT(&upstream->shards);
    TAILQ_INIT(&upstream->told);
    TAILQ_INIT(&upstream->live);
    TAILQ_INIT(&upstream->released);
    TAILQ_INIT(&upstream->held);
    event_assign(&upstream->resume, base, -1, 0, on_resume, upstream);
    event_assign(&upstream->deliver_soon, base, -1, 0, on_deliver, upstream);
    event_assign(&upstream->linger, base, -1, 0, on_linger, upstream);
    return upstream;
}

void upstream_free(struct upstream *upstream)
{
    struct transfer *transfer;
    struct shard *shard;

    while ((transfer = TAILQ_FIRST(&upstream->live)))
        transfer_free(transfer);
    while ((transfer = TAILQ_FIRST(&upstream->released)))
        transfer_free(transfer);
    event_del(&upstream->deliver_soon);
    event_del(&upstream->linger);
    event_del(&upstream->resume);
    while (upstream->pooled)
        curl_easy_cleanup(upstream->pool[--upstream->pooled]);
    while ((shard = LIST_FIRST(&upstream->shards))) {
        LIST_REMOVE(shard, link);
        event_del(&shard->timer);
        curl_multi_cleanup(shard->multi);
        mem_free(shard);
    }
    for (size_t i = 0; i < upstream->socket_count; i++)
        if (upstream->sockets[i])
            socket_drop(upstream, (curl_socket_t)i);
    mem_free(upstream->sockets);
    mem_free(upstream);
    curl_global_cleanup();
}

size_t upstream_active(const struct upstream *upstream)
{
    return upstream->active;
}
