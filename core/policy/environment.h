/* environment.h -- the variables that the process was started with.
 *
 * The kernel shows the place where they came, /proc/PID/environ, to root and, of a process
 * that may be traced, to every process of the same user: keys are in it. */
/* SPDX-License-Identifier: MIT */
#pragma once

/* Moves them to the heap and wipes where they came; getenv finds all as before, here and in
 * children.  Once, before anything changes them or holds what getenv gave. */
void environment_take(void);
