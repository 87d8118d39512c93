--- gemini.lua -- Google's Gemini by its OpenAI-compatible door.
--- https://ai.google.dev/gemini-api/docs/openai
local provider = require("weir.provider")

--- A 429 whose limit is 0: this key's plan has no such model, and waiting brings none.
local function classify(raw, said)
  if raw.status == 429 and said.message and said.message:find("limit: 0", 1, true) then
    return { code = "no_model" }
  end
end

--- It sends no Retry-After: the message says "Please retry in 46.5s."
local function retry_after(_, said)
  return said.message and tonumber(said.message:match("retry in (%d+%.?%d*)s"))
end

return provider.extend("openai", {
  base_url = "https://generativelanguage.googleapis.com/v1beta/openai",
  needs_key = "always",
  timeout = { first = 90 },
  drop = { "store", "service_tier" }, -- OpenAI's own; what it does not know is a 400 here
  classify = classify,
  retry_after = retry_after,
})
