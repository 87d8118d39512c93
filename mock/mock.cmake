# `weir mock`, the provider that fails on demand.
set(MOCK
  mock/mock.c
  mock/mock_answer.c
  mock/mock_ask.c
  mock/mock_conn.c
  mock/mock_control.c
  mock/mock_fault.c
  mock/mock_head.c
  mock/mock_http.c
  mock/mock_limit.c
  mock/mock_loop.c
  mock/mock_options.c
  mock/mock_say.c
  mock/mock_shape.c
  mock/mock_stats.c)
