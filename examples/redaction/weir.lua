-- A team's gateway: each member has a key, and no e-mail address, no key and no ticket number
-- reaches a provider or comes back from one.
local weir = require("weir")
local redact = require("policies.redact")
local waterfall = require("policies.waterfall")

local ask = waterfall { "groq/llama-3.3-70b-versatile", "openai/gpt-4o-mini" }

return {
  listen = ":4000", -- every interface, which takes keys
  keys = { weir.env "WEIR_KEY_ANN", weir.env "WEIR_KEY_BOB" },
  providers = {
    groq   = { type = "groq", key = weir.env "GROQ_API_KEY" },
    openai = { type = "openai", key = weir.env "OPENAI_API_KEY" },
  },
  models = {
    default = redact(ask),
    tickets = redact(ask, { patterns = { "ACME%-%d+" }, window = 64 }),
  },
  log = { format = "json" },
}
