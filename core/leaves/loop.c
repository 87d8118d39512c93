/* loop.c -- libevent's base. */
/* SPDX-License-Identifier: MIT */
#include "loop.h"
#include <event2/event.h>
#include <stdlib.h>

struct event_base *loop_new(void)
{
    struct event_config *config = event_config_new();
    if (!config)
        abort();
    /* NOLOCK: one thread.  CHANGELIST: an event deleted and added again within
     * one turn costs no system call, which direct flushing relies on. */
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST);
    struct event_base *base = event_base_new_with_config(config);
    event_config_free(config);
    if (!base)
        abort();
    return base;
}
