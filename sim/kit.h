/* kit.h -- the commands for those who write policies: weir test and weir explain.
 *
 * Both run policies in the simulator (sim.h) and call nobody. */
/* SPDX-License-Identifier: MIT */
#pragma once

/* argv[0] is the command's name; give the exit code. */
int kit_test(int argc, char **argv);
int kit_explain(int argc, char **argv);
