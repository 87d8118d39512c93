/* clerk_work.h -- what the clerk's process does: journals into the ledger, answers to operators. */
/* SPDX-License-Identifier: MIT */
#pragma once

struct budget;
struct keys;
struct rings;

struct clerk_work { /* all borrowed */
    const char *folder, *timezone;
    struct keys *keys;
    struct budget *budget;
    struct rings *rings;
    int fd; /* to the master */
};

/* Until the master is gone; gives the exit code. */
int clerk_work(const struct clerk_work *work);
