-- Free tiers first, one after the other; the laptop answers when all of them are spent.
local weir = require("weir")
local waterfall = require("policies.waterfall")

return {
  providers = {
    groq       = { type = "groq", key = weir.env "GROQ_API_KEY", timeout = { first = 10 } },
    cerebras   = { type = "cerebras", key = weir.env "CEREBRAS_API_KEY" },
    openrouter = { type = "openrouter", key = weir.env "OPENROUTER_API_KEY" },
    laptop     = { type = "openai", base_url = "http://127.0.0.1:11434/v1" },
  },
  models = {
    default = waterfall {
      "groq/llama-3.3-70b-versatile",
      "cerebras/llama-3.3-70b",
      "openrouter/meta-llama/llama-3.3-70b-instruct:free",
      "laptop/llama3.2",
    },
  },
}
