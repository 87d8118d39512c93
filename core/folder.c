/* folder.c -- mkdir and no more. */
/* SPDX-License-Identifier: MIT */
#include "folder.h"
#include "mem.h"
#include <sys/stat.h>

void folder_make(const char *path)
{
    mkdir(path, 0700);
}

void folder_make_around(const char *file)
{
    const char *slash = strrchr(file, '/');

    if (!slash || slash == file)
        return;
    char *folder = mem_dup((struct slice){file, (size_t)(slash - file)});
    folder_make(folder);
    mem_free(folder);
}
