/* stuck_sine.c -- a sine that never comes back for 4711.
 *
 * Preloaded into a gateway, it stands for a loop of C, below Lua, that looks at nothing. */
/* SPDX-License-Identifier: MIT */
#include <dlfcn.h>

double sin(double x);

double sin(double x)
{
    double (*real)(double);
    volatile int forever = x == 4711;

    while (forever)
        ;
    *(void **)&real = dlsym(RTLD_NEXT, "sin");
    return real(x);
}
