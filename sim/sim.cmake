# `weir test` and `weir explain`: the simulator, and what of the gateway runs over it.
set(SIM
  sim/kit.c
  sim/lua_sim.c
  sim/sim.c
  sim/sim_client.c
  sim/sim_loop.c
  sim/sim_upstream.c
  sim/specs.c)
add_library(simulated OBJECT EXCLUDE_FROM_ALL
  core/exchange.c
  core/exchange_commit.c
  core/exchange_send.c
  core/exchange_stream.c
  core/trail.c
  core/shadow.c
  core/fetch.c
  core/attempt.c
  core/attempt_stream.c
  core/adapter.c
  core/answer.c
  core/charge.c)
target_compile_options(simulated PRIVATE "SHELL:-iquote ${CMAKE_SOURCE_DIR}/core"
                                         "SHELL:-include ${CMAKE_SOURCE_DIR}/sim/sim_names.h")
