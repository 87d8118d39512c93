/* shm.h -- memory that the master maps before it forks and all its processes share, and locks in
 * it that outlive their owner. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

/* Zeroed memory that children of this process share; aborts when there is none. */
void *shm_new(size_t size);
/* The same, for what is large and mostly stays empty: pages count as they are used. */
void *shm_new_sparse(size_t size);
void shm_free(void *ptr, size_t size); /* accepts NULL */

/* Locks in such memory: a process may die holding one. */
void shm_locks_init(pthread_mutex_t *locks, size_t count);
/* True: whoever held it died, and what it was about may be half done. */
bool shm_lock(pthread_mutex_t *lock);
