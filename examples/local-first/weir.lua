-- The machine under the desk first.  It gets two seconds to take the call, and a minute to load
-- its model; when it is off or busy, a paid provider answers.
local weir = require("weir")
local waterfall = require("policies.waterfall")

return {
  providers = {
    desk   = {
      type = "openai",
      base_url = "http://127.0.0.1:11434/v1", -- Ollama, llama.cpp, vLLM: any that speak OpenAI's
      timeout = { connect = 2, first = 60, idle = 60 },
    },
    openai = { type = "openai", key = weir.env "OPENAI_API_KEY" },
  },
  models = {
    default = waterfall { "desk/llama3.2", "openai/gpt-4o-mini" },
    private = waterfall { "desk/llama3.2" }, -- never leaves the house
  },
}
