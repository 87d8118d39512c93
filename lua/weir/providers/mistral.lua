--- mistral.lua -- Mistral's La Plateforme. https://docs.mistral.ai/api
local provider = require("weir.provider")

return provider.extend("openai", {
  base_url = "https://api.mistral.ai/v1",
  needs_key = "always",
  drop = { "seed" }, -- it calls it random_seed, and refuses what it does not know
  quota_formats = { -- three namings, of which one answer has one or two
    { dimension = "rpm", header = "x-ratelimit-%s-req-minute" },
    { dimension = "tpm", header = "x-ratelimit-%s-tokens-minute" },
    { dimension = "tpm", header = "ratelimitbysize-%s" },
    { dimension = "tpm", header = "x-ratelimitbysize-%s-minute" },
    { dimension = "tpmonth", header = "x-ratelimitbysize-%s-month", scope = "key" },
  },
})
