-- A policy of our own, from policies/by_length.lua beside this file.
local weir = require("weir")
local by_length = require("policies.by_length")
local waterfall = require("policies.waterfall")

local small = waterfall { "groq/llama-3.1-8b-instant", "laptop/llama3.2" }
local large = waterfall { "openrouter/qwen/qwen3-235b-a22b", "groq/llama-3.3-70b-versatile" }

return {
  providers = {
    groq       = { type = "groq", key = weir.env "GROQ_API_KEY" },
    openrouter = { type = "openrouter", key = weir.env "OPENROUTER_API_KEY" },
    laptop     = { type = "openai", base_url = "http://127.0.0.1:11434/v1" },
  },
  models = { default = by_length(small, large, 400) },
}
