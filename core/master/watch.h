/* watch.h -- tells when files may have changed: inotify on each file and its folder.
 *
 * The folder sees an editor that renames over a file, and a file that comes to
 * be; the file itself is seen behind symbolic links. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <stdbool.h>

struct sources;
struct watch;

struct watch *watch_new(void); /* NULL: the system has no more of it */
void watch_free(struct watch *watch);
int watch_fd(const struct watch *watch); /* readable: call watch_take */

/* Watches what these were read from, and no longer what is not among them; either may be NULL. */
void watch_set(struct watch *watch, const struct sources *one, const struct sources *other);

bool watch_take(struct watch *watch); /* whether anything happened since the last call */
