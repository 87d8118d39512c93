--- cooldown.lua -- for how long a failed target rests: what the provider says of it in headers and
--- in its error, and what holds where it says nothing.
local dimension = require("weir.dimension")
local moment = require("weir.moment")
local quota = require("weir.quota")
local retry_after = require("weir.retry_after")
local cooldown = {}

local DEFAULT = 60         -- seconds; where a provider's entry carries none
local LONG_DEFAULT = 3600  -- seconds; a limit by the day or longer that names no time
local LONG_WINDOW = 3600   -- seconds; from here on a spent quota outlasts a shorter Retry-After

local UNITS = { sec = 1, min = 60, hou = 3600, day = 86400 }

--- "Please try again in 7m12s.", "Please retry in 46.5s.", "try again in 2 minutes".
local function said_in(message)
  if not message then return nil end
  message = message:lower()
  local text, rest = message:match("try again in (%d[%w.]*)(.*)")
  if not text then text, rest = message:match("retry in (%d[%w.]*)(.*)") end
  local wait = text and moment.wait(text:gsub("%.$", ""), nil)
  local unit = wait and text:find("^%d+%.?%d*$") and rest:match("^ (%a%a%a)")
  return wait and wait * (UNITS[unit] or 1)
end

--- Seconds to wait: from Retry-After, from the quota that is spent, from the error, in this
--- order; nil where nobody said. A Retry-After is about the limit that was met: a day that is
--- spent too is not over with it.
---@param raw table as outcome.read has it
---@param said table the error as error_body.lua read it
---@param spent weir.Quota|nil
---@return number|nil
function cooldown.said(raw, said, spent)
  local wait, reset = retry_after.read(raw.headers, raw.now), spent and spent.reset
  if wait and reset and quota.WINDOWS[spent.dimension] >= LONG_WINDOW then
    wait = math.max(wait, reset)
  end
  wait = wait or reset
  local hint = raw.provider and raw.provider.retry_after
  if not wait and hint then wait = hint(raw, said) end
  wait = wait or said_in(said.message)
  return wait and math.min(wait, retry_after.MAX)
end

local function is_long(limited, said)
  local message = said.message and said.message:lower() or ""
  return limited and quota.WINDOWS[limited] > LONG_WINDOW
    or message:find("weekly", 1, true) or message:find("monthly", 1, true)
end

--- Of a rate limit that names no time: longer where it is by the day, so that it is asked about
--- once an hour and not once a minute.
---@param raw table
---@param said table
---@param limited weir.Dimension|nil
---@return number seconds
function cooldown.default(raw, said, limited)
  if is_long(limited, said) then return LONG_DEFAULT end
  return raw.provider and raw.provider.cooldown or DEFAULT
end

--- The spent quota that lasts longest, and the dimension that the limit is of; nil where nobody
--- said.
---@param raw table
---@param said table
---@return weir.Quota|nil spent
---@return weir.Dimension|nil limited
function cooldown.limit(raw, said)
  local quotas = raw.provider and raw.provider.quotas
  local spent = quotas and dimension.spent(quotas(raw.headers, raw.now))
  return spent, dimension.named(said.message) or spent and spent.dimension
end

return cooldown
