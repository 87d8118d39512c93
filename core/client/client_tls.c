/* client_tls.c -- what is said of a handshake that came to nothing. */
/* SPDX-License-Identifier: MIT */
#include "client_own.h"
#include "leaves/log.h"
#include <sys/socket.h>

/* Who speaks plain HTTP to a port with TLS learns what is wrong.  What it sent is read first: a
 * close over unread bytes would reset the connection, and take the answer with it. */
void client_answer_plain(int fd)
{
    static const char answer[] =
        "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n"
        "{\"error\":{\"message\":\"this port speaks TLS: use https://\","
        "\"type\":\"invalid_request_error\",\"param\":null,\"code\":\"tls_required\"}}";
    char room[4096];

    for (int i = 0; i < 16 && recv(fd, room, sizeof room, MSG_DONTWAIT) > 0; i++)
        ;
    if (send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL | MSG_DONTWAIT) > 0)
        shutdown(fd, SHUT_WR);
}

void client_log_tls(const char *reason)
{
    struct log_line line = log_begin(LOG_INFO, "tls_refused");

    log_str(&line, "reason", reason);
    log_end(&line);
}
