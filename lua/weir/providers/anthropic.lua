--- anthropic.lua -- Anthropic by its OpenAI-compatible door.
--- https://docs.anthropic.com/en/api/openai-sdk, /rate-limits
local provider = require("weir.provider")

return provider.extend("openai", {
  base_url = "https://api.anthropic.com/v1",
  needs_key = "always",
  auth = { header = "x-api-key", prefix = "" },
  headers = { ["anthropic-version"] = "2023-06-01" },
  quota_formats = { -- resets are moments, by RFC 3339
    { dimension = "rpm", header = "anthropic-ratelimit-requests-%s" },
    { dimension = "tpm", header = "anthropic-ratelimit-tokens-%s" },
    { dimension = "itpm", header = "anthropic-ratelimit-input-tokens-%s" },
    { dimension = "otpm", header = "anthropic-ratelimit-output-tokens-%s" },
  },
})
