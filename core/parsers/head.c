/* head.c -- header lines that cannot be more than one line. */
/* SPDX-License-Identifier: MIT */
#include "head.h"
#include <strings.h>

static void add(struct buf *head, struct slice name, struct slice value)
{
    char *to = buf_reserve(head, name.len + value.len + 4);

    memcpy(to, name.ptr, name.len);
    to += name.len;
    *to++ = ':';
    *to++ = ' ';
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        *to++ = c < 0x20 || c > 0x7e ? '?' : (char)c;
    }
    memcpy(to, "\r\n", 2);
    head->len += name.len + value.len + 4;
}

void head_add(struct buf *head, const char *name, struct slice value)
{
    add(head, slice_of(name), value);
}

static bool is_token(struct slice name)
{
    static const char marks[] = "!#$%&'*+-.^_`|~";

    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool is_letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!is_letter && !(c >= '0' && c <= '9') && !(c && strchr(marks, c)))
            return false;
    }
    return name.len > 0;
}

bool head_add_checked(struct buf *head, struct slice name, struct slice value)
{
    static const char *const ours[] = {
        "connection",
        "content-length",
        "content-type",
        "date",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "transfer-encoding",
        "x-request-id",
        "x-weir-target",
        "set-cookie",
        "x-weir-attempts",
        "x-weir-generation",
    };
    if (!is_token(name))
        return false;
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (name.len == strlen(ours[i]) && strncasecmp(name.ptr, ours[i], name.len) == 0)
            return false;
    add(head, name, value);
    return true;
}
