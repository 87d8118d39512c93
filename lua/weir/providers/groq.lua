--- groq.lua -- GroqCloud. https://console.groq.com/docs/openai, /docs/errors
local provider = require("weir.provider")

--- Groq's own status for the flex tier: no capacity now.
local CAPACITY_EXCEEDED = 498

local function classify(raw, said)
  if raw.status == CAPACITY_EXCEEDED then return { code = "overloaded" } end
  -- The model called a tool in a way that cannot be parsed: its fault, not the request's.
  if said.code == "tool_use_failed" then return { code = "bad_response" } end
end

return provider.extend("openai", {
  base_url = "https://api.groq.com/openai/v1",
  needs_key = "always",
  drop = { "logprobs", "logit_bias", "top_logprobs", "store", "enable_thinking" },
  done = "required",
  quota_formats = { -- the same names as OpenAI's, but requests are counted by the day
    { dimension = "rpd", header = "x-ratelimit-%s-requests", refills = true },
    { dimension = "tpm", header = "x-ratelimit-%s-tokens" },
  },
  classify = classify,
})
