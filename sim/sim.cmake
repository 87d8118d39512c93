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
  core/exchange/exchange.c
  core/exchange/exchange_commit.c
  core/exchange/exchange_send.c
  core/exchange/exchange_stream.c
  core/exchange/trail.c
  core/exchange/shadow.c
  core/provider/fetch.c
  core/exchange/attempt.c
  core/exchange/attempt_stream.c
  core/exchange/adapter.c
  core/client/answer.c
  core/exchange/charge.c)
target_compile_options(simulated PRIVATE "SHELL:-iquote ${CMAKE_SOURCE_DIR}/core"
                                         "SHELL:-include ${CMAKE_SOURCE_DIR}/sim/sim_names.h")
