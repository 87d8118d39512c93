--- gemini.lua -- Google's Gemini by its OpenAI-compatible door. Its errors are lists, and all that
--- it says of limits is in them. https://ai.google.dev/gemini-api/docs/openai, /rate-limits
local provider = require("weir.provider")
local moment = require("weir.moment")

local DAY, HOUR = 86400, 3600
local YEAR = 31556952 -- seconds of the Gregorian calendar's mean year

--- Wall seconds at which the nth Sunday of a month begins.
local function sunday(year, month, nth)
  local first = moment.date(("%d-%02d-01T00:00:00Z"):format(year, month))
  local weekday = (first / DAY + 4) % 7 -- 1970 began on a Thursday
  return first + ((7 - weekday) % 7 + 7 * (nth - 1)) * DAY
end

--- Seconds until midnight in California, where a day's quota begins anew. Summer time lasts from
--- the second Sunday of March to the first of November, at two in the morning.
local function until_midnight(now)
  local year = 1970 + math.floor(now / YEAR)
  local is_summer = now >= sunday(year, 3, 2) + 10 * HOUR and now < sunday(year, 11, 1) + 9 * HOUR
  return DAY - (now - (is_summer and 7 or 8) * HOUR) % DAY
end

--- Calls fn with each detail of the error until it gives something.
local function find(said, fn)
  for _, detail in ipairs(said.details or {}) do
    local found = type(detail) == "table" and fn(detail)
    if found then return found end
  end
end

--- "GenerateRequestsPerDayPerProjectPerModel-FreeTier" -> "rpd"; the longest of several counts.
local function dimension_in(detail)
  local found
  for _, violation in ipairs(type(detail.violations) == "table" and detail.violations or {}) do
    local id = type(violation) == "table" and violation.quotaId
    id = type(id) == "string" and id:lower() or ""
    local unit = id:find("token", 1, true) and "tp" or "rp"
    if id:find("perday", 1, true) then return unit .. "d" end
    if id:find("perminute", 1, true) then found = unit .. "m" end
  end
  return found
end

--- Its quotaId and its message may name the day; a retryDelay of seconds then says nothing.
local function is_daily(said)
  local dimension = find(said, dimension_in)
  return dimension == "rpd" or dimension == "tpd"
end

local function classify(raw, said)
  local status = raw.status == 200 and said.status or raw.status
  if status ~= 429 then return nil end
  -- A limit of 0: this key's plan has no such model, and waiting brings none.
  if said.message and said.message:find("limit: 0%f[^%d.]") then return { code = "no_model" } end
  return { dimension = find(said, dimension_in) }
end

local function retry_after(raw, said)
  if raw.now and is_daily(said) then return until_midnight(raw.now) end
  return find(said, function(detail)
    return type(detail.retryDelay) == "string" and moment.wait(detail.retryDelay, nil)
  end)
end

return provider.extend("openai", {
  base_url = "https://generativelanguage.googleapis.com/v1beta/openai",
  needs_key = "always",
  drop = { "store", "service_tier" }, -- OpenAI's own; what it does not know is a 400 here
  quota_formats = {},
  classify = classify,
  retry_after = retry_after,
})
