-- A gateway for a team: a key for each, with budgets; a local model for what is private; metrics.
-- docs/deploy.md says how it is run, docs/keys.md what keys may be told:
--   weir teams add search --budget 500usd/month
--   weir keys add alice --team search --models default,fast --budget 50usd/month --soft 80%
local weir = require("weir")
local balance = require("policies.balance")
local queue = require("policies.queue")
local redact = require("policies.redact")
local waterfall = require("policies.waterfall")

local free = { "groq/llama-3.3-70b-versatile", "cerebras/llama-3.3-70b" }

return {
  listen = "127.0.0.1:4000",
  -- Beyond loopback, without a proxy in front: the files are watched, so renewing them is enough.
  -- listen = ":4000",
  -- tls = { cert = "tls/fullchain.pem", key = "tls/privkey.pem" },

  keys = "ledger",
  ledger = {
    timezone = "Europe/Berlin", -- where budgets' days, weeks and months begin
    answer_tokens = 2048,       -- reserved for an answer whose request does not bound it
    -- webhook = weir.env "WEIR_WEBHOOK", -- told of budgets that run low: a hook of Slack's
  },
  prices = { -- dollars a million tokens, where the table that comes along is not what you pay
    ["cerebras/llama-3.3-70b"] = { input = 0.85, output = 1.2 },
    ["desk/llama3.2"] = { input = 0, output = 0 },
  },

  data = "data",
  admin = {
    listen = { "unix:data/admin.sock" },
    -- For Prometheus, or operators without a shell here:
    -- listen = { "unix:data/admin.sock", "127.0.0.1:4001" },
    -- token = weir.env "WEIR_ADMIN_TOKEN",
  },

  limits = { body = 8 * 1024 * 1024, in_flight = 512 },
  timeout = { first = 20 },
  log = { format = "json" },

  providers = {
    groq = {
      type = "groq",
      key = weir.env "GROQ_API_KEY",
      limits = { rpm = 300, concurrent = 32 },
    },
    cerebras = { type = "cerebras", key = weir.env "CEREBRAS_API_KEY", limits = { rpm = 300 } },
    openai = { type = "openai", key = weir.env "OPENAI_API_KEY" },
    desk = { type = "openai", base_url = "http://127.0.0.1:11434/v1" },
  },

  models = {
    fast = queue(free, { policy = balance(free) }),
    default = redact(waterfall { "groq/llama-3.3-70b-versatile", "openai/gpt-4o-mini" }),
    private = waterfall { "desk/llama3.2" },
  },
}
