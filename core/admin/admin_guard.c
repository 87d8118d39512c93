/* admin_guard.c -- who may ask.
 *
 * The socket's mode guards the socket.  The port is reached by everybody on the machine, and by web
 * pages in their browsers: it wants the token.  A page cannot know it, but might be on a name that
 * leads here (DNS rebinding), so a Host that is not ours is refused as well; and what says Origin
 * comes from a page, for which nothing is served at all. */
/* SPDX-License-Identifier: MIT */
#include "admin_own.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <strings.h>

/* Without the port; an IPv6 address also without its brackets. */
static struct slice name_of(struct slice host)
{
    const char *end = host.len ? memrchr(host.ptr, ':', host.len) : NULL;

    if (host.len && host.ptr[0] == '[') {
        const char *close = memchr(host.ptr, ']', host.len);
        return (struct slice){host.ptr + 1, close ? (size_t)(close - host.ptr) - 1 : 0};
    }
    return end ? (struct slice){host.ptr, (size_t)(end - host.ptr)} : host;
}

static bool is_among(struct slice name, const char *names)
{
    for (const char *at = names; *at;) {
        size_t len = strcspn(at, " ");
        if (len == name.len && strncasecmp(at, name.ptr, len) == 0)
            return true;
        at += len + (at[len] == ' ');
    }
    return false;
}

/* An address needs no name, so nobody else's name leads to it. */
static bool is_our_host(const struct doors_plan *plan, struct slice host)
{
    struct slice name = name_of(host);
    unsigned char room[sizeof(struct in6_addr)];
    char text[DOORS_PATH];

    snprintf(text, sizeof text, "%.*s", (int)name.len, name.len ? name.ptr : "");
    return inet_pton(AF_INET, text, room) == 1 || inet_pton(AF_INET6, text, room) == 1 ||
           strcasecmp(text, "localhost") == 0 || strcasecmp(text, plan->host) == 0 ||
           is_among(name, plan->hosts);
}

static bool has_token(const struct admin *admin, const struct caller *caller)
{
    static const struct slice bearer = {"Bearer ", 7};
    struct slice said = caller_header(caller, "authorization");

    if (said.len < bearer.len || strncasecmp(said.ptr, bearer.ptr, bearer.len) != 0)
        return false;
    return doors_token_is(admin->doors,
                          (struct slice){said.ptr + bearer.len, said.len - bearer.len});
}

bool admin_lets_in(const struct admin *admin, struct caller *caller)
{
    if (caller_header(caller, "origin").ptr) {
        caller_answer_error(caller, 403, "web pages are not served here");
        return false;
    }
    if (caller->door == DOOR_UNIX)
        return true;
    if (!is_our_host(doors_plan(admin->doors), caller_header(caller, "host"))) {
        caller_answer_error(caller, 403, "the Host is not this gateway's; admin.hosts may name it");
        return false;
    }
    if (!has_token(admin, caller)) {
        caller_answer_error(caller, 401,
                            "this port wants admin.token as authorization: Bearer TOKEN");
        return false;
    }
    return true;
}
