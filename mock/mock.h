/* mock.h -- `weir mock`: an OpenAI-compatible provider that fails on demand.
 *
 * It serves the demo, the specs and the benchmarks.  It shares the leaves with
 * the gateway and nothing else: raw sockets, so that every byte, FIN and RST
 * is ours to choose. */
/* SPDX-License-Identifier: MIT */
#pragma once

/* argv[0] is "mock".  Serves until SIGTERM or SIGINT, then gives 0; 1 when it
 * cannot listen, 2 on bad usage. */
int mock_main(int argc, char **argv);
