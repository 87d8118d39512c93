/* admin_answer.c -- answers to callers: made whole, written as the socket takes them. */
/* SPDX-License-Identifier: MIT */
#include "admin_own.h"
#include "leaves/loop.h"
#include "parsers/json.h"
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

void caller_write(struct caller *caller)
{
    const char *from = caller->out.ptr + caller->sent;
    ssize_t len =
        send(caller->fd, from, caller->out.len - caller->sent, MSG_NOSIGNAL | MSG_DONTWAIT);

    if (len < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (len > 0)
        caller->sent += (size_t)len;
    if (len < 0 || caller->sent == caller->out.len)
        caller_hang_up(caller); /* it is whole, or whoever asked has left */
}

static const char *reason_of(int status)
{
    switch (status) {
    case 200: return "OK";
    case 202: return "Accepted";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 417: return "Expectation Failed";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 503: return "Service Unavailable";
    case 505: return "HTTP Version Not Supported";
    default: return "Refused"; /* as a child said */
    }
}

void caller_answer_as(struct caller *caller, int status, const char *type, const char *headers,
                      const struct buf *body)
{
    buf_add_format(&caller->out,
                   "HTTP/1.1 %d %s\r\ncontent-type: %s\r\n%scontent-length: %zu\r\n"
                   "connection: close\r\n\r\n",
                   status, reason_of(status), type, headers, body->len);
    buf_add(&caller->out, buf_slice(body));
    caller->state = WRITING;
    caller->deadline_us = loop_now_us() + CALLER_US;
    caller_write(caller);
}

void caller_answer(struct caller *caller, int status, const struct buf *body)
{
    caller_answer_as(caller, status, caller->wants_text ? "text/plain" : "application/json", "",
                     body);
}

/* 401 names the scheme, the gate's 405 the methods: what RFC 9110 wants of them. */
static const char *headers_of(int status)
{
    if (status == 401)
        return "www-authenticate: Bearer\r\n";
    return status == 405 ? "allow: GET, POST\r\n" : "";
}

static void answer_error(struct caller *caller, int status, const char *headers,
                         const char *message)
{
    struct buf body = {0};

    if (caller->wants_text) {
        buf_add_format(&body, "%s\n", message);
    } else {
        buf_add_text(&body, "{\"error\":");
        json_quote(&body, slice_of(message));
        buf_add_char(&body, '}');
    }
    caller_answer_as(caller, status, caller->wants_text ? "text/plain" : "application/json",
                     headers, &body);
    buf_free(&body);
}

void caller_answer_error(struct caller *caller, int status, const char *message)
{
    answer_error(caller, status, headers_of(status), message);
}

void caller_answer_not_allowed(struct caller *caller, const char *method)
{
    char allow[32], message[64];

    snprintf(allow, sizeof allow, "allow: %s\r\n", method);
    snprintf(message, sizeof message, "%s is served there", method);
    answer_error(caller, 405, allow, message);
}
