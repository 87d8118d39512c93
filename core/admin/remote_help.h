/* remote_help.h -- what weir keys, teams, usage and requests say to --help. */
/* SPDX-License-Identifier: MIT */
#pragma once

const char *remote_help(const char *command);
