/* folder.h -- the folders of what the gateway keeps: nobody else may look in. */
/* SPDX-License-Identifier: MIT */
#pragma once

/* Makes it, 0700, where it is not there; what cannot be made shows when something is put in. */
void folder_make(const char *path);
void folder_make_around(const char *file); /* the one that a file's path names */
