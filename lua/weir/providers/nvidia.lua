--- nvidia.lua -- NVIDIA's hosted NIM. It names no limits. https://docs.api.nvidia.com
local provider = require("weir.provider")

return provider.extend("openai", {
  base_url = "https://integrate.api.nvidia.com/v1",
  needs_key = "always",
  timeout = { first = 300 }, -- the head comes at once, then minutes of reading the prompt
  quota_formats = {},
})
