--- together.lua -- Together AI. https://docs.together.ai/docs/rate-limits
local provider = require("weir.provider")

return provider.extend("openai", {
  base_url = "https://api.together.xyz/v1",
  needs_key = "always",
  quota_formats = {
    { dimension = "rpm", longer = "rpd", header = "x-ratelimit-%s" },
  },
})
