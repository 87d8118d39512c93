/* environment.c -- moves the variables out of the block that the kernel shows.
 *
 * The kernel remembers the block's bounds (proc(5), environ), not the variables: bytes
 * that are wiped in place are wiped in its file too, and a child shares that by fork. */
/* SPDX-License-Identifier: MIT */
#include "environment.h"
#include "leaves/mem.h"
#include <string.h>
#include <unistd.h>

static char **own; /* the list and behind it the text, also of what setenv has put aside */

void environment_take(void)
{
    char **given = environ;
    size_t count = 0, bytes = 0;

    for (; given[count]; count++)
        bytes += strlen(given[count]) + 1;
    own = mem_new((count + 1) * sizeof *own + bytes);
    char *text = (char *)(own + count + 1);
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(given[i]);
        own[i] = memcpy(text, given[i], len + 1);
        text += len + 1;
        explicit_bzero(given[i], len);
    }
    environ = own;
}
