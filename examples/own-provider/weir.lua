-- A provider that Weir does not ship: its type is the name of a file in providers/.
local weir = require("weir")
local waterfall = require("policies.waterfall")

return {
  providers = {
    google = { type = "gemini", key = weir.env "GEMINI_API_KEY" },
    laptop = { type = "openai", base_url = "http://127.0.0.1:11434/v1" },
  },
  models = { default = waterfall { "google/gemini-2.5-flash", "laptop/llama3.2" } },
}
