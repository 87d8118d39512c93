/* gateway.h -- the master: it keeps the workers running, leads them from one version of weir.lua
 * to the next, and stops them.  It serves no client and runs no Lua. */
/* SPDX-License-Identifier: MIT */
#pragma once
#include "leaves/exit_code.h"

/* weir serve: runs until it is told to stop. */
int gateway_serve(const char *config_path);

/* weir check: loads, validates, prints. */
int gateway_check(const char *config_path);
