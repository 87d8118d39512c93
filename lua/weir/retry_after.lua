--- retry_after.lua -- how long a provider asks us to wait, from its headers.
---
--- What cannot be read is unknown (nil), never 0. Reset times of x-ratelimit-* headers are
--- not read here yet.
local retry_after = {}

--- Seconds: a longer wait is tried again after a day, and no timer overflows.
retry_after.MAX = 86400

local MONTHS = {
  Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6,
  Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12,
}

--- The three forms of RFC 9110, 5.6.7: the current one, RFC 850's, asctime's.
local function read_parts(text)
  local day, month, year, clock = text:match("^%a%a%a, (%d%d) (%a%a%a) (%d%d%d%d) (%S+) GMT$")
  if day then return day, month, tonumber(year), clock end
  day, month, year, clock = text:match("^%a+, (%d%d)%-(%a%a%a)%-(%d%d) (%S+) GMT$")
  if day then return day, month, tonumber(year) + 2000, clock end
  month, day, clock, year = text:match("^%a%a%a (%a%a%a) +(%d%d?) (%S+) (%d%d%d%d)$")
  return day, month, tonumber(year), clock
end

--- Days from 1970-01-01 to a date of the Gregorian calendar. March begins the year, so that
--- the leap day is its last.
local function days_from_epoch(year, month, day)
  if month <= 2 then year, month = year - 1, month + 12 end
  local leaps = math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
  return 365 * year + leaps + math.floor((153 * (month - 3) + 2) / 5) + day - 719469
end

--- Wall seconds of an HTTP-date, or nil.
---@param text string
---@return number|nil
function retry_after.date(text)
  local day, month, year, clock = read_parts(text)
  if not day or not MONTHS[month] then return nil end
  local hour, minute, second = clock:match("^(%d%d):(%d%d):(%d%d)$")
  if not hour then return nil end
  return days_from_epoch(year, MONTHS[month], tonumber(day)) * 86400
    + tonumber(hour) * 3600 + tonumber(minute) * 60 + tonumber(second)
end

--- Digits with or without a fraction; tonumber alone would take "0x10", "1e9" and "inf".
local function decimal(text)
  return text and text:find("^%s*%d+%.?%d*%s*$") and tonumber(text) or nil
end

local function until_date(text, now)
  local at = text and now and retry_after.date(text)
  return at and at > now and at - now or nil
end

--- Seconds to wait, or nil when the headers name no time to come.
---@param headers table<string, string> names in lower case
---@param now number|nil wall seconds, for dates
---@return number|nil
function retry_after.read(headers, now)
  local ms = decimal(headers["retry-after-ms"]) -- Azure and OpenAI: the finer one is meant
  local text = headers["retry-after"]
  local wait = ms and ms / 1000 or decimal(text) or until_date(text, now)
  return wait and math.min(wait, retry_after.MAX)
end

return retry_after
