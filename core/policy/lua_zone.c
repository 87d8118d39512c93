/* lua_zone.c -- the time zones that this system knows: files of the IANA database, where the C
 * library looks for them (tzset(3)). */
/* SPDX-License-Identifier: MIT */
#include "lua_core.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 4096, DEPTH = 3 }; /* America/Argentina/Ushuaia */

static const char *zone_folder(void)
{
    const char *said = getenv("TZDIR");
    return said && said[0] ? said : "/usr/share/zoneinfo";
}

/* RFC 8536, 3.1: how such a file begins. */
static bool is_zone(const char *path)
{
    char magic[4];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is_one = fd >= 0 && read(fd, magic, sizeof magic) == sizeof magic &&
                  memcmp(magic, "TZif", sizeof magic) == 0;

    if (fd >= 0)
        close(fd);
    return is_one;
}

/* Adds to the list on top what is in that folder of the database, names from its root on.  Zones
 * begin with a capital; posix/ and right/ hold them once more. */
static void add_zones(lua_State *L, const char *within, int depth)
{
    char path[PATH_SIZE], name[PATH_SIZE];

    snprintf(path, sizeof path, "%s/%s", zone_folder(), within);
    DIR *folder = opendir(path);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        if (entry->d_name[0] < 'A' || entry->d_name[0] > 'Z')
            continue;
        int len = snprintf(name, sizeof name, "%s%s", within, entry->d_name);
        int path_len = snprintf(path, sizeof path, "%s/%s", zone_folder(), name);
        if (len + 1 >= PATH_SIZE || path_len >= PATH_SIZE)
            continue;
        if (is_zone(path)) {
            lua_pushstring(L, name);
            lua_rawseti(L, -2, (int)lua_objlen(L, -2) + 1);
        } else if (depth > 1) {
            memcpy(name + len, "/", 2);
            add_zones(L, name, depth - 1);
        }
    }
    if (folder)
        closedir(folder);
}

/* host.zone(name) -> true, or false, the folder, and the list of those that there are */
int lua_zone_find(lua_State *L)
{
    char path[PATH_SIZE];

    snprintf(path, sizeof path, "%s/%s", zone_folder(), luaL_checkstring(L, 1));
    bool is_there = is_zone(path);
    lua_pushboolean(L, is_there);
    if (is_there)
        return 1;
    lua_pushstring(L, zone_folder());
    lua_newtable(L);
    add_zones(L, "", DEPTH);
    return 3;
}
