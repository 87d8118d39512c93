/* folder.c -- mkdir, and where a path begins. */
/* SPDX-License-Identifier: MIT */
#include "folder.h"
#include "mem.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

void folder_make(const char *path)
{
    mkdir(path, 0700);
}

void folder_make_around(const char *file)
{
    size_t len = folder_len(file);

    if (len < 2) /* none, or the root */
        return;
    char *folder = mem_dup((struct slice){file, len - 1});
    folder_make(folder);
    mem_free(folder);
}

size_t folder_len(const char *file)
{
    const char *slash = strrchr(file, '/');
    return slash ? (size_t)(slash + 1 - file) : 0;
}

void folder_own_path(char *to, size_t size, const char *file, const char *at, const char *in_it)
{
    bool is_relative = at[0] && at[0] != '/';

    snprintf(to, size, "%.*s%s%s", is_relative ? (int)folder_len(file) : 0, file, at,
             at[0] ? in_it : "");
}
