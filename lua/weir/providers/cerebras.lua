--- cerebras.lua -- Cerebras Inference. https://inference-docs.cerebras.ai
local provider = require("weir.provider")

--- Errors are flat: { message, type, param, code }, without an "error" around them.
local function classify(raw, said)
  -- A 429 whose cause is the queue of all customers, not this key's limit.
  if raw.status == 429 and said.code == "queue_exceeded" then return { code = "overloaded" } end
end

return provider.extend("openai", {
  base_url = "https://api.cerebras.ai/v1",
  needs_key = "always",
  drop = {
    "frequency_penalty", "presence_penalty", "logit_bias", "parallel_tool_calls", "service_tier",
  },
  done = "required",
  quota_formats = {
    { dimension = "rpd", header = "x-ratelimit-%s-requests-day" },
    { dimension = "rph", header = "x-ratelimit-%s-requests-hour" },
    { dimension = "rpm", header = "x-ratelimit-%s-requests-minute" },
    { dimension = "tpd", header = "x-ratelimit-%s-tokens-day" },
    { dimension = "tph", header = "x-ratelimit-%s-tokens-hour" },
    { dimension = "tpm", header = "x-ratelimit-%s-tokens-minute" },
  },
  classify = classify,
})
