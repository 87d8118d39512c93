--- moment.lua -- how long until the moment that a provider's text names, in whatever form.
---
---   7   1.5   33011.38          seconds from now
---   1700000030                  seconds since 1970: past 10^9 nobody means a wait
---   1700000030000               milliseconds since 1970: past 10^12
---   6m0s   12ms   10h17m5.7s    Go's durations
---   2025-10-25T12:00:00Z        RFC 3339
---   Sun, 06 Nov 1994 08:49:37 GMT   the three forms of RFC 9110, 5.6.7
---
--- What cannot be read, is negative or is over is unknown: nil, never 0.
local moment = {}

--- Seconds: a month, the longest window of any limit. What is further is nobody's word.
moment.MAX = 32 * 86400

local EPOCH_SECONDS, EPOCH_MILLISECONDS = 1e9, 1e12
local MAX_LENGTH = 64 -- bytes; no form is longer

local MONTHS = {
  Jan = 1, Feb = 2, Mar = 3, Apr = 4, May = 5, Jun = 6,
  Jul = 7, Aug = 8, Sep = 9, Oct = 10, Nov = 11, Dec = 12,
}

--- Of Go's time.Duration, and the day that others add; in seconds.
local UNITS = {
  d = 86400, h = 3600, m = 60, s = 1, ms = 1e-3, us = 1e-6, ["\194\181s"] = 1e-6,
  ["\206\188s"] = 1e-6, ns = 1e-9,
}

--- Days from 1970-01-01 to a date of the Gregorian calendar. March begins the year, so that
--- the leap day is its last.
---@param year number
---@param month number 1 to 12
---@param day number 1 to 31
---@return number
function moment.days_from_epoch(year, month, day)
  if month <= 2 then year, month = year - 1, month + 12 end
  local leaps = math.floor(year / 4) - math.floor(year / 100) + math.floor(year / 400)
  return 365 * year + leaps + math.floor((153 * (month - 3) + 2) / 5) + day - 719469
end

local function seconds_of(year, month, day, hour, minute, second)
  return moment.days_from_epoch(tonumber(year), tonumber(month), tonumber(day)) * 86400
    + tonumber(hour) * 3600 + tonumber(minute) * 60 + tonumber(second)
end

--- The three forms of an HTTP-date: the current one, RFC 850's, asctime's.
local function read_parts(text)
  local day, month, year, clock = text:match("^%a%a%a, (%d%d) (%a%a%a) (%d%d%d%d) (%S+) GMT$")
  if day then return day, month, tonumber(year), clock end
  day, month, year, clock = text:match("^%a+, (%d%d)%-(%a%a%a)%-(%d%d) (%S+) GMT$")
  if day then return day, month, tonumber(year) + 2000, clock end
  month, day, clock, year = text:match("^%a%a%a (%a%a%a) +(%d%d?) (%S+) (%d%d%d%d)$")
  return day, month, tonumber(year), clock
end

local function http_date(text)
  local day, month, year, clock = read_parts(text)
  if not day or not MONTHS[month] then return nil end
  local hour, minute, second = clock:match("^(%d%d):(%d%d):(%d%d)$")
  return hour and seconds_of(year, MONTHS[month], day, hour, minute, second)
end

local function rfc3339(text)
  local year, month, day, hour, minute, second, zone =
    text:match("^(%d%d%d%d)-(%d%d)-(%d%d)[Tt ](%d%d):(%d%d):(%d%d%.?%d*)(.+)$")
  if not zone or tonumber(month) < 1 or tonumber(month) > 12 then return nil end
  local sign, hours, minutes = zone:match("^([+-])(%d%d):(%d%d)$")
  local east = sign and (tonumber(hours) * 60 + tonumber(minutes)) * 60
  if not sign and zone ~= "Z" and zone ~= "z" then return nil end
  return seconds_of(year, month, day, hour, minute, second) - (east and tonumber(sign .. east) or 0)
end

--- Wall seconds of a date, or nil.
---@param text string
---@return number|nil
function moment.date(text)
  return http_date(text) or rfc3339(text)
end

--- Digits with or without a fraction; tonumber alone would take "0x10", "1e9" and "inf".
---@param text string|nil
---@return number|nil
function moment.decimal(text)
  return text and text:find("^%s*%d+%.?%d*%s*$") and tonumber(text) or nil
end

--- "10h17m5.7s" in seconds; each unit once or more, nothing between them.
local function duration(text)
  local sum, at = 0, 1
  while at <= #text do
    local number, unit, next_at = text:match("^(%d+%.?%d*)([%a\194\181\206\188]+)()", at)
    if not number or not UNITS[unit] then return nil end
    sum, at = sum + tonumber(number) * UNITS[unit], next_at
  end
  return at > 1 and sum or nil
end

local function until_wall(at, now)
  local wait = at and now and at - now
  return wait and wait > 0 and wait or nil
end

local function from_number(number, now)
  if number > EPOCH_MILLISECONDS then return until_wall(number / 1000, now) end
  if number > EPOCH_SECONDS then return until_wall(number, now) end
  return number
end

--- Seconds from now until the moment that the text names, at most moment.MAX; nil where it
--- names none to come.
---@param text string|nil
---@param now number|nil wall seconds; without them dates are unknown
---@return number|nil
function moment.wait(text, now)
  if not text or #text > MAX_LENGTH then return nil end
  local number = moment.decimal(text)
  local wait
  if number then
    wait = from_number(number, now)
  else
    wait = duration(text) or until_wall(moment.date(text), now)
  end
  return wait and math.min(wait, moment.MAX)
end

return moment
