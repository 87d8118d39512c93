-- The shipped policies, each under a name of its own, and some of them together.
local weir = require("weir")
local balance = require("policies.balance")
local cap = require("policies.cap")
local cheapest = require("policies.cheapest")
local continue = require("policies.continue")
local fastest = require("policies.fastest")
local queue = require("policies.queue")
local retry = require("policies.retry")
local route = require("policies.route")
local shadow = require("policies.shadow")
local sticky = require("policies.sticky")
local strip = require("policies.strip")
local waterfall = require("policies.waterfall")

local small = { "groq/llama-3.1-8b-instant", "openai/gpt-4o-mini" }
local large = { "openai/gpt-4o", "groq/llama-3.3-70b-versatile" }

return {
  providers = {
    groq   = { type = "groq", key = weir.env "GROQ_API_KEY" },
    openai = { type = "openai", key = weir.env "OPENAI_API_KEY" },
    openrouter = { type = "openrouter", key = weir.env "OPENROUTER_API_KEY" },
    laptop = { type = "openai", base_url = "http://127.0.0.1:11434/v1" },
  },
  models = {
    balance  = balance(small, { weights = { 3, 1 } }),
    fastest  = fastest(large),
    cheapest = cheapest({ "groq/llama-3.1-8b-instant", "openai/gpt-4o-mini", "laptop/llama3.2" }, {
      prices = { ["laptop/llama3.2"] = { input = 0, output = 0 } },
    }),
    continue = continue { "openrouter/mistralai/mistral-small", "laptop/llama3.2" },
    sticky   = sticky(large),
    queue    = queue({ "groq/llama-3.1-8b-instant", "openrouter/*" }, { wait = 20 }),
    retry    = retry("laptop/llama3.2", { times = 3, pause = 1 }),
    shadow   = shadow(waterfall(large), { to = "laptop/llama3.2", share = 0.1 }),
    cap      = cap(waterfall(large), { tokens = 1000 }),
    strip    = strip { "groq/llama-3.3-70b-versatile", "laptop/llama3.2" },

    default = cap(route {
      { images = true, to = waterfall { "openai/gpt-4o" } },
      { above = 20000, to = sticky(large) },
      { to = retry(balance(small)) },
    }, { tokens = 4000 }),
  },
}
