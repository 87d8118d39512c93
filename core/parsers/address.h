/* address.h -- which addresses belong to the Internet, and which to somebody's own network. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <stdbool.h>

struct sockaddr; /* <sys/socket.h> */

/* Whether it is an IPv4 or IPv6 address that anybody may reach: none of the ranges that the
 * IANA special-purpose registries (RFC 6890 and after) keep for loopback, links, private
 * networks, documentation, tests and multicast; an IPv4 address inside an IPv6 one counts as
 * itself. */
bool address_is_public(const struct sockaddr *address);
