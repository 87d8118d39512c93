-- Every member that does something, with its default.  Times are seconds, sizes bytes.
local weir = require("weir")
local waterfall = require("policies.waterfall")

return {
  listen = "127.0.0.1:4000", -- "HOST:PORT", "[IPV6]:PORT"; ":PORT" is every IPv4 interface
  workers = 0,               -- processes; 0: one a core
  drain = 600,               -- how long streams may go on after SIGTERM

  keys = { weir.env "WEIR_KEY_ANN", weir.env "WEIR_KEY_BOB" }, -- none: loopback only

  timeout = { connect = 5, first = 60, idle = 30, total = 600 },
  cooldown = 60,             -- after a 429 that names no time

  limits = {
    body = 16 * 1024 * 1024, -- of a request
    headers = 32 * 1024,     -- request line and headers together
    connections = 10000,     -- clients', in each worker
    in_flight = 4096,        -- requests, in each worker
  },

  policy = { on_error = "closed" }, -- "open": what a failing filter was given passes as it came
  log = { level = "info", format = "logfmt" }, -- file: default standard error
  reload = { watch = true }, -- a changed file is a reload
  admin = { listen = "unix:data/admin.sock" }, -- for weir reload, rollback, status; "off": none

  providers = {
    groq = {
      type = "groq",
      key = weir.env "GROQ_API_KEY",
      timeout = { first = 10 },               -- the clocks that differ
      cooldown = 30,
      headers = { ["x-team"] = "search" },    -- with every request; a secret may be a value
    },
    laptop = { type = "openai", base_url = "http://127.0.0.1:11434/v1" },
  },

  models = {
    default = waterfall { "groq/llama-3.3-70b-versatile", "laptop/llama3.2" },
    ["*"] = waterfall { "groq/*" },           -- every other name, passed on
  },
}
