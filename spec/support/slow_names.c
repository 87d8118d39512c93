/* slow_names.c -- a resolver that never answers for names that begin with "slow.".
 *
 * Preloaded into a gateway, it stands for a name server that is not there. */
/* SPDX-License-Identifier: MIT */
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>

int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints,
                struct addrinfo **found)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);

    while (node && strncmp(node, "slow.", 5) == 0)
        pause();
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");
    return real(node, service, hints, found);
}
