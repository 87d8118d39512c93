--- openrouter.lua -- OpenRouter, which stands before many providers of its own.
--- https://openrouter.ai/docs/api-reference/errors-and-debugging
local provider = require("weir.provider")
local error_body = require("weir.error_body")

--- "Provider returned error" says nothing; metadata.raw is what that provider said.
local function upstream_message(metadata)
  local raw = metadata.raw
  if type(raw) ~= "string" then return nil end
  local said, name = error_body.read(raw), metadata.provider_name
  if type(name) ~= "string" then name = "its provider" end
  return said.message and ("%s: %s"):format(name, said.message)
end

local function classify(raw, said)
  local metadata = said.metadata
  if not metadata then return nil end
  local status = raw.status == 200 and said.status or raw.status
  -- 403 with reasons: the input was flagged; the key is well.
  if status == 403 and (metadata.reasons or metadata.flagged_input) then
    return { code = "content_policy" }
  end
  -- 402 for what is in flight, not for what is spent: it passes by itself.
  if status == 402 and metadata.limit_source == "openrouter_in_flight_budget" then
    return { code = "rate_limited", scope = "key" }
  end
  -- Its own limits come with their headers, and are those of the whole key.
  local is_own = status == 429 and type(metadata.headers) == "table"
  return { message = upstream_message(metadata), scope = is_own and "key" or nil }
end

--- Its own 429s name the end of the limit in epoch milliseconds, often in the body alone.
local function retry_after(raw, said)
  local headers = said.metadata and said.metadata.headers
  local inside = type(headers) == "table" and headers["X-RateLimit-Reset"]
  local reset = tonumber(raw.headers["x-ratelimit-reset"] or inside or nil)
  local wait = reset and raw.now and reset / 1000 - raw.now
  return wait and wait > 0 and wait or nil
end

return provider.extend("openai", {
  base_url = "https://openrouter.ai/api/v1",
  needs_key = "always",
  done = "required",
  reports_cost = true, -- https://openrouter.ai/docs/use-cases/usage-accounting
  quota_formats = { -- on its own 429s alone; twenty a minute or so many a day
    { dimension = "rpm", longer = "rpd", header = "x-ratelimit-%s", scope = "key" },
  },
  classify = classify,
  retry_after = retry_after,
})
