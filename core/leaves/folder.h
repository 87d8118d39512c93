/* folder.h -- the folders of what the gateway keeps: nobody else may look in. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <stddef.h>

/* Makes it, 0700, where it is not there; what cannot be made shows when something is put in. */
void folder_make(const char *path);
void folder_make_around(const char *file); /* the one that a file's path names */

/* Of the folder in a file's path, its slash included; 0: the path has none. */
size_t folder_len(const char *file);

/* Into to: at, then in_it unless at is empty.  A relative one begins where the file is: as paths in
 * weir.lua do. */
void folder_own_path(char *to, size_t size, const char *file, const char *at, const char *in_it);
