/* shm.c -- anonymous shared mappings, robust mutexes. */
/* SPDX-License-Identifier: MIT */
#include "shm.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

static void *map(size_t size, int flags)
{
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | flags, -1, 0);
    if (memory == MAP_FAILED)
        abort();
    return memory;
}

void *shm_new(size_t size)
{
    return map(size, 0);
}

void *shm_new_sparse(size_t size)
{
    return map(size, MAP_NORESERVE);
}

void shm_free(void *ptr, size_t size)
{
    if (ptr)
        munmap(ptr, size);
}

void shm_locks_init(pthread_mutex_t *locks, size_t count)
{
    pthread_mutexattr_t attributes;

    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    for (size_t i = 0; i < count; i++)
        pthread_mutex_init(&locks[i], &attributes);
    pthread_mutexattr_destroy(&attributes);
}

bool shm_lock(pthread_mutex_t *lock)
{
    if (pthread_mutex_lock(lock) != EOWNERDEAD)
        return false;
    pthread_mutex_consistent(lock);
    return true;
}
