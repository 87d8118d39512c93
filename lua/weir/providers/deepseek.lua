--- deepseek.lua -- DeepSeek. It names no limits; what it bounds is the requests in flight.
--- https://api-docs.deepseek.com
local provider = require("weir.provider")

return provider.extend("openai", {
  base_url = "https://api.deepseek.com",
  needs_key = "always",
  quota_formats = {},
})
