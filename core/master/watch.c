/* watch.c -- inotify. */
/* SPDX-License-Identifier: MIT */
#include "watch.h"
#include "leaves/mem.h"
#include "policy/sources.h"
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

enum {
    FILE_EVENTS = IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF | IN_MOVE_SELF,
    FOLDER_EVENTS = IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_TO | IN_MOVED_FROM,
};

struct spot { /* what is waited for at one watch descriptor */
    int wd;
    char *name; /* in that folder; NULL: anything of that file */
};

struct watch {
    int fd;
    struct spot *spots;
    size_t count;
};

struct watch *watch_new(void)
{
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

    if (fd < 0)
        return NULL;
    struct watch *watch = mem_new(sizeof *watch);
    watch->fd = fd;
    return watch;
}

static void free_spots(struct spot *spots, size_t count)
{
    for (size_t i = 0; i < count; i++)
        mem_free(spots[i].name);
    mem_free(spots);
}

void watch_free(struct watch *watch)
{
    if (!watch)
        return;
    free_spots(watch->spots, watch->count);
    close(watch->fd);
    mem_free(watch);
}

int watch_fd(const struct watch *watch)
{
    return watch->fd;
}

/* ---- what is watched ---- */

static void add_spot(struct watch *watch, int wd, const char *name)
{
    watch->spots = mem_resize(watch->spots, (watch->count + 1) * sizeof *watch->spots);
    watch->spots[watch->count++] = (struct spot){wd, name ? mem_dup(slice_of(name)) : NULL};
}

/* Watches path's folder for its name; where there is no such folder, the nearest above for the
 * folder's. */
static void add_folder(struct watch *watch, char *path)
{
    for (;;) {
        char *slash = strrchr(path, '/');
        const char *name = slash ? slash + 1 : path;
        if (slash)
            *slash = '\0';
        const char *folder = !slash ? "." : slash == path ? "/" : path;
        int wd = inotify_add_watch(watch->fd, folder, FOLDER_EVENTS);
        if (wd >= 0)
            add_spot(watch, wd, name);
        if (wd >= 0 || !slash || slash == path)
            return;
    }
}

static void add_path(void *arg, const char *path)
{
    struct watch *watch = arg;
    char *copy = mem_dup(slice_of(path));
    int wd = inotify_add_watch(watch->fd, path, FILE_EVENTS);

    if (wd >= 0)
        add_spot(watch, wd, NULL);
    add_folder(watch, copy);
    mem_free(copy);
}

static bool has(const struct watch *watch, int wd)
{
    for (size_t i = 0; i < watch->count; i++)
        if (watch->spots[i].wd == wd)
            return true;
    return false;
}

void watch_set(struct watch *watch, const struct sources *one, const struct sources *other)
{
    struct spot *old = watch->spots;
    size_t count = watch->count;

    watch->spots = NULL;
    watch->count = 0;
    if (one)
        sources_each(one, add_path, watch);
    if (other)
        sources_each(other, add_path, watch);
    for (size_t i = 0; i < count; i++)
        if (!has(watch, old[i].wd))
            inotify_rm_watch(watch->fd, old[i].wd);
    free_spots(old, count);
}

/* ---- what happens ---- */

static bool matters(const struct watch *watch, const struct inotify_event *event)
{
    if (event->mask & IN_Q_OVERFLOW)
        return true;
    for (size_t i = 0; i < watch->count && !(event->mask & IN_IGNORED); i++) {
        const struct spot *spot = &watch->spots[i];
        if (spot->wd == event->wd &&
            (!spot->name || (event->len && strcmp(spot->name, event->name) == 0)))
            return true;
    }
    return false;
}

bool watch_take(struct watch *watch)
{
    char room[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool found = false;
    ssize_t len;

    while ((len = read(watch->fd, room, sizeof room)) > 0) {
        for (char *at = room; at < room + len;) {
            const struct inotify_event *event = (const struct inotify_event *)at;
            found = found || matters(watch, event);
            at += sizeof *event + event->len;
        }
    }
    return found;
}
