/* specs.c -- finds specs, and hands them to lua/weir/test.lua, a fresh Lua state for each file. */
/* SPDX-License-Identifier: MIT */
#include "specs.h"
#include "leaves/folder.h"
#include "leaves/mem.h"
#include "lua_sim.h"
#include <dirent.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

enum { PATHS_MAX = 10 * 1000, DEPTH_MAX = 16 };

/* ---- finding specs ---- */

static void add_path(struct specs *specs, const char *path)
{
    if (specs->count == PATHS_MAX)
        return;
    specs->paths = mem_resize(specs->paths, (specs->count + 1) * sizeof(char *));
    specs->paths[specs->count++] = mem_dup(slice_of(path));
}

static bool ends_with(const char *text, const char *end)
{
    size_t len = strlen(text), end_len = strlen(end);
    return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static bool is_skipped(const char *name)
{
    return name[0] == '.' || strcmp(name, "node_modules") == 0 || strncmp(name, "build", 5) == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void find_specs(struct specs *specs, const char *folder, int depth)
{
    DIR *dir = depth < DEPTH_MAX ? opendir(folder) : NULL;
    struct dirent *entry;
    struct stat info;
    char path[PATH_MAX];

    while (dir && (entry = readdir(dir))) {
        bool is_here = strcmp(folder, ".") == 0;
        int len = snprintf(path, sizeof path, "%s%s%s", is_here ? "" : folder, is_here ? "" : "/",
                           entry->d_name);
        if (is_skipped(entry->d_name) || len >= (int)sizeof path || lstat(path, &info))
            continue;
        if (S_ISDIR(info.st_mode))
            find_specs(specs, path, depth + 1);
        else if (ends_with(path, "_spec.lua"))
            add_path(specs, path);
    }
    if (dir)
        closedir(dir);
}

bool specs_find(struct specs *specs, const char *path)
{
    struct stat info;
    char folder[PATH_MAX];

    if (stat(path, &info))
        return false;
    if (!S_ISDIR(info.st_mode)) {
        add_path(specs, path);
        return true;
    }
    snprintf(folder, sizeof folder, "%s", path);
    for (size_t len = strlen(folder); len > 1 && folder[len - 1] == '/'; len--)
        folder[len - 1] = '\0';
    size_t before = specs->count;
    find_specs(specs, folder, 0);
    if (specs->count > before)
        qsort(specs->paths + before, specs->count - before, sizeof(char *), by_name);
    return true;
}

void specs_fini(struct specs *specs)
{
    for (size_t i = 0; i < specs->count; i++)
        mem_free(specs->paths[i]);
    mem_free(specs->paths);
    *specs = (struct specs){0};
}

/* ---- running ---- */

/* Reads the line of counts that test.run begins with; gives what comes behind it. */
static struct slice take_counts(struct slice said, struct specs_counts *counts)
{
    int passed, failed, pending, read = 0;

    if (sscanf(said.ptr, "%d %d %d\n%n", &passed, &failed, &pending, &read) < 3 || !read) {
        counts->failed++; /* it says why */
        return said;
    }
    counts->passed += passed;
    counts->failed += failed;
    counts->pending += pending;
    return (struct slice){said.ptr + read, said.len - (size_t)read};
}

static void call(struct lua_sim *lua_sim, const char *function, const char *path,
                 const char *const *args, struct specs_counts *counts, struct buf *out)
{
    struct buf said = {0};

    int result = lua_sim_call(lua_sim, "weir.test", function, args, 3, &said);
    size_t len = said.len;
    buf_add_char(&said, '\0');
    if (result < 0) { /* an error of the kit's own */
        buf_add_format(out, "%s: %s\n", path, said.ptr);
        counts->failed++;
    } else {
        buf_add(out, take_counts((struct slice){said.ptr, len}, counts));
    }
    buf_free(&said);
}

void specs_run(const char *path, const char *folder, const char *verbose,
               struct specs_counts *counts, struct buf *out)
{
    struct lua_sim *lua_sim = lua_sim_new();
    const char *args[] = {path, folder, verbose};

    call(lua_sim, "run", path, args, counts, out);
    lua_sim_free(lua_sim);
}

void specs_prove(const char *path, const char *config_path, struct sources *sources,
                 struct specs_counts *counts, struct buf *problems)
{
    struct lua_sim *lua_sim = lua_sim_new();
    char *folder = mem_dup((struct slice){config_path, folder_len(config_path)});
    const char *args[] = {path, folder, config_path};

    lua_sim_read(lua_sim, sources);
    call(lua_sim, "prove", path, args, counts, problems);
    lua_sim_free(lua_sim);
    mem_free(folder);
}
