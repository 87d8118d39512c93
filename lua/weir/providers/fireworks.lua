--- fireworks.lua -- Fireworks AI. https://docs.fireworks.ai
local provider = require("weir.provider")

local SUSPENDED = 412 -- its own status: the account may spend no more

local function classify(raw)
  if raw.status == SUSPENDED then return { code = "credit" } end
end

return provider.extend("openai", {
  base_url = "https://api.fireworks.ai/inference/v1",
  needs_key = "always",
  quota_formats = { -- limits that adapt; tokens of input and output apart
    { dimension = "itpm", header = "x-ratelimit-%s-tokens-prompt" },
    { dimension = "otpm", header = "x-ratelimit-%s-tokens-generated" },
  },
  classify = classify,
})
