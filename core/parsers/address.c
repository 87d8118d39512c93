/* address.c -- the special-purpose ranges, by prefix. */
/* SPDX-License-Identifier: MIT */
#include "address.h"
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

struct range {
    unsigned char prefix[16];
    int bits;
};

static const struct range v4[] = {
    {{0}, 8},            /* this network */
    {{10}, 8},           /* private */
    {{100, 64}, 10},     /* a carrier's own */
    {{127}, 8},          /* loopback */
    {{169, 254}, 16},    /* link-local; clouds keep their metadata here */
    {{172, 16}, 12},     /* private */
    {{192, 0, 0}, 24},   /* protocol assignments */
    {{192, 0, 2}, 24},   /* documentation */
    {{192, 88, 99}, 24}, /* 6to4 relays */
    {{192, 168}, 16},    /* private */
    {{198, 18}, 15},     /* benchmarks */
    {{198, 51, 100}, 24},
    {{203, 0, 113}, 24}, /* documentation */
    {{224}, 3},          /* multicast, reserved, broadcast */
};

static const struct range v6[] = {
    {{0}, 96},                         /* unspecified, loopback, IPv4-compatible */
    {{0, 0x64, 0xff, 0x9b, 0, 1}, 48}, /* a network's own NAT64; where it puts IPv4 is unknown */
    {{0x01}, 63},                      /* discarded, dummy */
    {{0x20, 0x01, 0}, 23},             /* protocol assignments, Teredo */
    {{0x20, 0x01, 0x0d, 0xb8}, 32},    /* documentation */
    {{0x3f, 0xff}, 20},                /* documentation */
    {{0x5f}, 16},                      /* segment routing */
    {{0xfc}, 7},                       /* private */
    {{0xfe, 0x80}, 10},                /* link-local */
    {{0xfe, 0xc0}, 10},                /* site-local */
    {{0xff}, 8},                       /* multicast */
};

/* IPv6 addresses that hold an IPv4 one: its offset follows. */
static const struct {
    struct range range;
    int offset;
} holders[] = {
    {{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff}, 96}, 12}, /* mapped */
    {{{0, 0x64, 0xff, 0x9b}, 96}, 12},                      /* NAT64 */
    {{{0x20, 0x02}, 16}, 2},                                /* 6to4 */
};

static bool is_in(const unsigned char *bytes, const struct range *range)
{
    int whole = range->bits / 8, rest = range->bits % 8;

    if (memcmp(bytes, range->prefix, (size_t)whole) != 0)
        return false;
    return rest == 0 || (bytes[whole] ^ range->prefix[whole]) >> (8 - rest) == 0;
}

static bool is_in_any(const unsigned char *bytes, const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (is_in(bytes, &ranges[i]))
            return true;
    return false;
}

static bool v4_is_public(const unsigned char *bytes)
{
    return !is_in_any(bytes, v4, sizeof v4 / sizeof *v4);
}

static bool v6_is_public(const unsigned char *bytes)
{
    for (size_t i = 0; i < sizeof holders / sizeof *holders; i++)
        if (is_in(bytes, &holders[i].range))
            return v4_is_public(bytes + holders[i].offset);
    return !is_in_any(bytes, v6, sizeof v6 / sizeof *v6);
}

bool address_is_public(const struct sockaddr *address)
{
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;

    if (address->sa_family == AF_INET) {
        memcpy(&in4, address, sizeof in4);
        return v4_is_public((const unsigned char *)&in4.sin_addr);
    }
    if (address->sa_family == AF_INET6) {
        memcpy(&in6, address, sizeof in6);
        return v6_is_public((const unsigned char *)&in6.sin6_addr);
    }
    return false;
}
