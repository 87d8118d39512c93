--- azure.lua -- Azure OpenAI by its v1 API; each resource has a base URL of its own.
--- https://learn.microsoft.com/azure/ai-services/openai/quotas-limits
local provider = require("weir.provider")

return provider.extend("openai", {
  base_url = false,
  base_url_example = "https://RESOURCE.openai.azure.com/openai/v1",
  needs_key = "always",
  auth = { header = "api-key", prefix = "" },
  quota_formats = { -- -1 and 0 both stand for unknown
    { dimension = "rpm", header = "x-ratelimit-%s-requests", zero = "unknown" },
    { dimension = "tpm", header = "x-ratelimit-%s-tokens", zero = "unknown" },
  },
})
