/* load.c -- a load generator for the benchmarks: one thread, epoll, HTTP/1.1.
 *
 *     load requests --to HOST:PORT --pid PID --seconds 2 --connections 32
 *     load streams  --to HOST:PORT --pid PID --seconds 3 --connections 1000
 *     load memory   --pid PID
 *
 * requests asks again and again on kept connections, or with --once on one each, which may be
 * cut.  streams opens all of
 * them, then watches them for a while; with --hold until stdin ends.  The CPU
 * of the process tree under PID is read at both ends of the measured time, so
 * neither start nor warming up is in it.  What came of it goes to stdout in one
 * line of name=value. */
/* SPDX-License-Identifier: MIT */
#include "tree.h"
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    HEAD_BYTES = 4096,    /* of an answer's head */
    RECV_BYTES = 1 << 18, /* one read */
    EVENTS = 512,
    OPENING = 128,           /* streams that are on their way at once */
    MAX_SAMPLES = 1 << 20,   /* latencies kept */
    OPEN_LIMIT_US = 40000000 /* for all streams to open */
};

enum mode { REQUESTS, STREAMS };
enum state { IDLE, SENDING, HEAD, BODY, DEAD };
enum framing { BY_LENGTH, BY_CHUNKS, BY_CLOSE };

struct client {
    int fd;
    enum state state;
    enum framing framing;
    bool writes; /* EPOLLOUT is asked for */
    bool opened; /* the first byte of a body came */
    size_t sent;
    size_t left;  /* of the body, BY_LENGTH */
    char tail[7]; /* the last bytes that came: where a chunked body ends */
    uint64_t start_us;
    size_t head_len;
    char *head; /* while in HEAD */
};

static struct {
    enum mode mode;
    struct sockaddr_in to;
    pid_t pid;
    double seconds, warm;
    int connections;
    int rate;   /* requests a second; 0: as fast as they come back */
    long count; /* stop after so many; 0: by time */
    bool stream, hold, once;
    size_t body_bytes;
    const char *model;
    const char *key;
    const char *status; /* that answers are to have; others are errors */
} options = {.seconds = 2,
             .warm = 0.5,
             .connections = 32,
             .body_bytes = 700,
             .model = "bench",
             .status = "200"};

static struct {
    int epoll;
    struct client *clients;
    int opened, opening, started; /* clients */
    char *request;
    size_t request_len;
    uint64_t now_us;
    bool measuring;
    long requests, errors, cuts, chunks, asked;
    uint32_t *first_us, *whole_us; /* latencies */
    size_t firsts, wholes;
} run;

static char incoming[RECV_BYTES];

static void start(struct client *client);
static void end_once(struct client *client);

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t clock_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void build_request(void)
{
    size_t room = options.body_bytes + 1024;
    char *body = malloc(room), *request = malloc(room + 1024);

    if (!body || !request)
        fail("memory");
    int len = snprintf(body, room,
                       "{\"model\":\"%s\",\"stream\":%s,\"messages\":[{\"role\":\"user\","
                       "\"content\":\"",
                       options.model, options.stream ? "true" : "false");
    size_t fill = options.body_bytes > (size_t)len + 4 ? options.body_bytes - (size_t)len - 4 : 1;
    for (size_t i = 0; i < fill; i++)
        body[len++] = "some words that a user might have typed. "[i % 41];
    len += snprintf(body + len, 5, "\"}]}");
    int head =
        snprintf(request, room + 1024,
                 "POST /v1/chat/completions HTTP/1.1\r\nHost: bench\r\n"
                 "Authorization: Bearer %s\r\nContent-Type: application/json\r\n"
                 "Accept: application/json\r\nUser-Agent: load\r\nContent-Length: %d\r\n\r\n",
                 options.key ? options.key : "bench", len);
    memcpy(request + head, body, (size_t)len);
    run.request = request;
    run.request_len = (size_t)head + (size_t)len;
    free(body);
}

static void watch(struct client *client, int op, bool writes)
{
    struct epoll_event event = {.events = EPOLLIN | (writes ? EPOLLOUT : 0u), .data.ptr = client};

    client->writes = writes;
    if (epoll_ctl(run.epoll, op, client->fd, &event) < 0)
        fail("epoll_ctl");
}

static void end(struct client *client)
{
    if (options.mode == STREAMS && client->state != DEAD)
        client->opened ? run.opened-- : run.opening--;
    client->state = DEAD;
    close(client->fd);
    client->fd = -1;
}

static void open_client(struct client *client)
{
    int on = 1;
    struct linger linger = {.l_onoff = 1}; /* leaves no TIME_WAIT behind */

    *client = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0),
                              .head = client->head};
    if (client->fd < 0)
        fail("socket");
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    if (connect(client->fd, (struct sockaddr *)&options.to, sizeof options.to) < 0 &&
        errno != EINPROGRESS)
        fail("connect");
    watch(client, EPOLL_CTL_ADD, true);
    client->state = SENDING;
    client->start_us = run.now_us;
}

static void on_error(struct client *client)
{
    if (options.once) {
        run.cuts++;
        end_once(client);
        return;
    }
    run.errors++;
    end(client);
    if (options.mode == REQUESTS && run.errors < 1000)
        open_client(client);
}

static void end_once(struct client *client)
{
    end(client);
    if (options.rate)
        client->state = IDLE;
    else
        open_client(client);
}

static void keep_sample(uint32_t *samples, size_t *count, uint64_t us)
{
    if (run.measuring && *count < MAX_SAMPLES)
        samples[(*count)++] = (uint32_t)us;
}

static void send_some(struct client *client)
{
    while (client->sent < run.request_len) {
        ssize_t sent = send(client->fd, run.request + client->sent, run.request_len - client->sent,
                            MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            if (!client->writes)
                watch(client, EPOLL_CTL_MOD, true);
            return;
        }
        if (sent < 0) {
            on_error(client);
            return;
        }
        client->sent += (size_t)sent;
    }
    client->state = HEAD;
    if (client->writes)
        watch(client, EPOLL_CTL_MOD, false);
}

static void start(struct client *client)
{
    client->sent = client->head_len = 0;
    client->opened = false;
    client->start_us = clock_us();
    client->state = SENDING;
    run.asked++;
    if (client->fd < 0)
        open_client(client);
    else
        send_some(client);
}

static bool may_ask(void)
{
    return !options.count || run.asked < options.count;
}

static void on_whole(struct client *client)
{
    run.requests++;
    keep_sample(run.whole_us, &run.wholes, clock_us() - client->start_us);
    client->state = IDLE;
    if (options.mode == STREAMS)
        end(client); /* streams should not end while they are watched */
    else if (options.once)
        end_once(client);
    else if (!options.rate && may_ask())
        start(client);
}

static void on_first_byte(struct client *client)
{
    client->opened = true;
    keep_sample(run.first_us, &run.firsts, clock_us() - client->start_us);
    if (options.mode == STREAMS) {
        run.opened++;
        run.opening--;
    }
}

/* Events end with an empty line; seldom is one cut by a chunk's border. */
static long count_events(char before, const char *ptr, size_t len)
{
    long events = 0;

    for (const char *at = ptr; len && (at = memchr(at, '\n', (size_t)(ptr + len - at))); at++)
        events += at == ptr ? before == '\n' : at[-1] == '\n';
    return events;
}

static void keep_tail(struct client *client, const char *ptr, size_t len)
{
    size_t size = sizeof client->tail;

    if (len >= size) {
        memcpy(client->tail, ptr + len - size, size);
        return;
    }
    memmove(client->tail, client->tail + len, size - len);
    memcpy(client->tail + size - len, ptr, len);
}

static void on_body(struct client *client, const char *ptr, size_t len)
{
    if (!len)
        return;
    if (!client->opened)
        on_first_byte(client);
    if (client->framing == BY_LENGTH) {
        client->left -= len < client->left ? len : client->left;
        if (!client->left)
            on_whole(client);
        return;
    }
    run.chunks += count_events(client->tail[6], ptr, len);
    keep_tail(client, ptr, len);
    if (client->framing == BY_CHUNKS && memcmp(client->tail, "\r\n0\r\n\r\n", 7) == 0)
        on_whole(client);
}

static void read_head(struct client *client)
{
    const char *length = strcasestr(client->head, "\r\ncontent-length:");

    client->framing = length                                                       ? BY_LENGTH
                      : strcasestr(client->head, "\r\ntransfer-encoding: chunked") ? BY_CHUNKS
                                                                                   : BY_CLOSE;
    client->left = length ? strtoul(length + 17, NULL, 10) : 0;
    memset(client->tail, 0, sizeof client->tail);
    client->state = BODY;
}

static void on_head(struct client *client, const char *ptr, size_t len)
{
    size_t had = client->head_len;
    size_t some = len < HEAD_BYTES - 1 - had ? len : HEAD_BYTES - 1 - had;

    if (!client->head && !(client->head = malloc(HEAD_BYTES)))
        fail("memory");
    memcpy(client->head + had, ptr, some);
    client->head_len = had + some;
    client->head[client->head_len] = '\0';
    const char *blank = strstr(client->head, "\r\n\r\n");
    if (!blank && client->head_len < HEAD_BYTES - 1)
        return;
    if (!blank || strncmp(client->head, "HTTP/1.1 ", 9) != 0 ||
        strncmp(client->head + 9, options.status, 3) != 0) {
        on_error(client);
        return;
    }
    size_t used = (size_t)(blank + 4 - client->head) - had;
    client->head[client->head_len = (size_t)(blank + 2 - client->head)] = '\0';
    read_head(client);
    if (options.mode == STREAMS) { /* ten thousand heads are a lot of memory */
        free(client->head);
        client->head = NULL;
    }
    on_body(client, ptr + used, len - used);
}

static void on_readable(struct client *client)
{
    ssize_t got = recv(client->fd, incoming, sizeof incoming, 0);

    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        if (client->state == BODY && client->framing == BY_CLOSE && got == 0)
            run.requests++;
        on_error(client);
        return;
    }
    if (client->state == HEAD)
        on_head(client, incoming, (size_t)got);
    else if (client->state == BODY)
        on_body(client, incoming, (size_t)got);
    else
        on_error(client);
}

static void turn(int wait_ms)
{
    struct epoll_event events[EVENTS];
    int count = epoll_wait(run.epoll, events, EVENTS, wait_ms);

    run.now_us = clock_us();
    for (int i = 0; i < count; i++) {
        struct client *client = events[i].data.ptr;
        if (client->state == SENDING && events[i].events & EPOLLOUT)
            send_some(client);
        else if (client->state != DEAD && events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP))
            on_readable(client);
    }
}

/* With --rate: sends what is due on connections that are idle. */
static void send_due(uint64_t *due_us)
{
    for (int i = 0; i < options.connections && *due_us <= run.now_us && may_ask(); i++) {
        if (run.clients[i].state != IDLE)
            continue;
        start(&run.clients[i]);
        *due_us += 1000000u / (unsigned)options.rate;
    }
    if (*due_us + 100000 < run.now_us) /* all are busy: do not store up a flood */
        *due_us = run.now_us;
}

static void open_requests(void)
{
    for (int i = 0; i < options.connections; i++) {
        open_client(&run.clients[i]);
        run.asked++;
    }
}

static void run_until(uint64_t end_us)
{
    uint64_t due_us = run.now_us;

    while (run.now_us < end_us && run.errors < 1000) {
        turn(options.rate ? 1 : 20);
        if (options.rate)
            send_due(&due_us);
        if (options.count && run.requests + run.errors >= options.count)
            return;
    }
}

static void open_streams(void)
{
    uint64_t end_us = run.now_us + OPEN_LIMIT_US;

    while (run.opened < options.connections && run.now_us < end_us && run.errors < 100) {
        for (; run.opening < OPENING && run.started < options.connections; run.opening++)
            open_client(&run.clients[run.started++]);
        turn(20);
    }
    run.firsts = run.wholes = 0;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void print_latency(const char *name, uint32_t *samples, size_t count)
{
    if (!count)
        return;
    qsort(samples, count, sizeof *samples, by_size);
    printf(" %s_p50_us=%u %s_p99_us=%u", name, samples[count / 2], name, samples[count * 99 / 100]);
}

static void measure(void)
{
    uint64_t cpu_ns = tree_cpu_ns(options.pid), from_us = clock_us();
    long requests = run.requests, chunks = run.chunks, cuts = run.cuts;

    run.now_us = from_us;
    run.measuring = true;
    run_until(from_us + (uint64_t)(options.seconds * 1e6));
    double cpu_us = (double)(tree_cpu_ns(options.pid) - cpu_ns) / 1e3;
    double seconds = (double)(clock_us() - from_us) / 1e6;
    requests = run.requests - requests;
    cuts = run.cuts - cuts;
    chunks = run.chunks - chunks;
    struct tree_cost cost = tree_cost(options.pid);
    printf("requests=%ld errors=%ld cuts=%ld chunks=%ld seconds=%.3f cpu_us=%.0f", requests,
           run.errors, cuts, chunks, seconds, cpu_us);
    printf(" open=%d pss_kib=%llu rss_kib=%llu", run.opened, (unsigned long long)cost.pss_kib,
           (unsigned long long)cost.rss_kib);
    if (requests)
        printf(" us_per_request=%.3f requests_per_s=%.0f", cpu_us / (double)requests,
               (double)requests / seconds);
    if (chunks)
        printf(" us_per_chunk=%.3f chunks_per_s=%.0f", cpu_us / (double)chunks,
               (double)chunks / seconds);
    print_latency("first", run.first_us, run.firsts);
    print_latency("whole", run.whole_us, run.wholes);
    printf("\n");
    fflush(stdout);
}

/* Reads the answers of streams until stdin ends. */
static void hold(void)
{
    char byte;

    fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
    while (read(STDIN_FILENO, &byte, 1) != 0)
        turn(50);
}

static void read_address(const char *text)
{
    char host[64];
    unsigned port;

    if (sscanf(text, "%63[0-9.]:%u", host, &port) != 2 ||
        inet_pton(AF_INET, host, &options.to.sin_addr) != 1) {
        fprintf(stderr, "load: --to takes ADDRESS:PORT\n");
        exit(2);
    }
    options.to.sin_family = AF_INET;
    options.to.sin_port = htons((uint16_t)port);
}

static void read_options(int argc, char **argv)
{
    static const struct option table[] = {
        {"to", 1, NULL, 't'},     {"pid", 1, NULL, 'p'},  {"seconds", 1, NULL, 's'},
        {"warm", 1, NULL, 'w'},   {"rate", 1, NULL, 'r'}, {"connections", 1, NULL, 'c'},
        {"count", 1, NULL, 'n'},  {"body", 1, NULL, 'b'}, {"model", 1, NULL, 'm'},
        {"stream", 0, NULL, 'S'}, {"hold", 0, NULL, 'h'}, {"key", 1, NULL, 'k'},
        {"status", 1, NULL, 'a'}, {"once", 0, NULL, 'o'}, {NULL, 0, NULL, 0},
    };

    for (int c; (c = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        switch (c) {
        case 't': read_address(optarg); break;
        case 'p': options.pid = (pid_t)strtol(optarg, NULL, 10); break;
        case 's': options.seconds = strtod(optarg, NULL); break;
        case 'w': options.warm = strtod(optarg, NULL); break;
        case 'r': options.rate = (int)strtol(optarg, NULL, 10); break;
        case 'c': options.connections = (int)strtol(optarg, NULL, 10); break;
        case 'n': options.count = strtol(optarg, NULL, 10); break;
        case 'b': options.body_bytes = strtoul(optarg, NULL, 10); break;
        case 'm': options.model = optarg; break;
        case 'S': options.stream = true; break;
        case 'h': options.hold = true; break;
        case 'k': options.key = optarg; break;
        case 'o': options.once = true; break;
        case 'a': options.status = optarg; break;
        default: exit(2);
        }
    }
}

static void print_memory(void)
{
    struct tree_cost cost = tree_cost(options.pid);

    printf("pss_kib=%llu rss_kib=%llu\n", (unsigned long long)cost.pss_kib,
           (unsigned long long)cost.rss_kib);
}

static void prepare(void)
{
    struct rlimit limit;

    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    build_request();
    run.epoll = epoll_create1(EPOLL_CLOEXEC);
    run.clients = calloc((size_t)options.connections, sizeof *run.clients);
    run.first_us = malloc(MAX_SAMPLES * sizeof *run.first_us);
    run.whole_us = malloc(MAX_SAMPLES * sizeof *run.whole_us);
    if (run.epoll < 0 || !run.clients || !run.first_us || !run.whole_us)
        fail("memory");
    run.now_us = clock_us();
}

int main(int argc, char **argv)
{
    const char *mode = argc > 1 ? argv[1] : "";

    read_options(argc, argv);
    if (strcmp(mode, "memory") == 0) {
        print_memory();
        return 0;
    }
    if ((strcmp(mode, "requests") != 0 && strcmp(mode, "streams") != 0) || !options.to.sin_port) {
        fprintf(stderr, "usage: load requests|streams|memory --to ADDRESS:PORT [options]\n");
        return 2;
    }
    options.mode = mode[0] == 's' ? STREAMS : REQUESTS;
    options.stream = options.stream || options.mode == STREAMS;
    prepare();
    if (options.mode == STREAMS)
        open_streams();
    else
        open_requests();
    if (!options.count)
        run_until(run.now_us + (uint64_t)(options.warm * 1e6));
    measure();
    if (options.hold)
        hold();
    return run.errors ? 3 : 0;
}
