-- Models that think aloud, to clients that do not want to read it.
local weir = require("weir")
local hide_thinking = require("hide_thinking")
local waterfall = require("policies.waterfall")

local ask = waterfall { "groq/qwen/qwen3-32b", "openrouter/deepseek/deepseek-r1" }

return {
  providers = {
    groq       = { type = "groq", key = weir.env "GROQ_API_KEY" },
    openrouter = { type = "openrouter", key = weir.env "OPENROUTER_API_KEY" },
  },
  models = { default = hide_thinking(ask), aloud = ask },
}
