--- clerk_when.lua -- moments as people name them: "7d", "yesterday", "2026-11-20", "14:03", in the
--- ledger's time zone.
local moment = require("weir.moment")
local words = require("weir.clerk_words")

local when = {}

local DAYS = { today = 0, yesterday = -1, tomorrow = 1 }
local LENGTH = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }

local function is_day(year, month, day)
  local length = LENGTH[month] or 0
  local is_leap = year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0)
  if month == 2 and is_leap then length = 29 end
  return year >= 1970 and day >= 1 and day <= length
end

--- "+0100" is 3600; nil: it is none.
local function offset_of(zone)
  if zone == "Z" or zone == "z" then return 0 end
  local sign, hours, minutes = zone:match("^([+-])(%d%d):?(%d%d)$")
  if not sign then return nil end
  return (sign == "-" and -1 or 1) * (tonumber(hours) * 3600 + tonumber(minutes) * 60)
end

--- "2026-11-22T18:16:50+01:00", as clocks of the ledger's zone show it: RFC 3339.
---@param host table what lua_clerk.c gives
---@param at number
---@return string
function when.stamp(host, at)
  return host.date("%Y-%m-%dT%H:%M:%S", at) .. host.date("%z", at):gsub("(%d%d)$", ":%1")
end

--- The moment at which clocks of the ledger's zone show that time.
local function in_zone(host, shown)
  local at = shown - offset_of(host.date("%z", shown))
  return shown - offset_of(host.date("%z", at))
end

--- Seconds into a day of "14", "03" and "05"; nil: no clock shows that.
local function time_of_day(hours, minutes, seconds)
  hours, minutes, seconds = tonumber(hours), tonumber(minutes), tonumber(seconds or 0)
  if hours > 23 or minutes > 59 or seconds > 59 then return nil end
  return hours * 3600 + minutes * 60 + seconds
end

--- What comes behind a day: "", "T14:03", " 14:03:05", each with a zone or without.
local function read_rest(rest)
  if rest == "" then return 0 end
  local hours, minutes, tail = rest:match("^[Tt ](%d%d):(%d%d)(.*)$")
  if not hours then return nil end
  local seconds, zone = tail:match("^:(%d%d)(.*)$")
  return time_of_day(hours, minutes, seconds), zone or tail
end

local function read_date(host, text)
  local year, month, day, rest = text:match("^(%d%d%d%d)%-(%d%d)%-(%d%d)(.*)$")
  year, month, day = tonumber(year), tonumber(month), tonumber(day)
  if not year or not is_day(year, month, day) then return nil end
  local time, zone = read_rest(rest)
  if not time then return nil end
  local shown = moment.days_from_epoch(year, month, day) * 86400 + time
  if not zone or zone == "" then return in_zone(host, shown) end
  local offset = offset_of(zone)
  return offset and shown - offset
end

local function read_clock(host, text)
  local hours, minutes, seconds = text:match("^(%d%d?):(%d%d):?(%d*)$")
  local time = hours and time_of_day(hours, minutes, seconds ~= "" and seconds or nil)
  return time and read_date(host, host.date("%Y-%m-%d", host.now()) .. "T"
    .. ("%02d:%02d:%02d"):format(time / 3600, time / 60 % 60, time % 60))
end

--- Seconds since 1970 of "yesterday", which began then, of "2026-11-20T14:03" or "14:03".
local function read_moment(host, text)
  local days = DAYS[text]
  if not days then return read_date(host, text) or read_clock(host, text) end
  local noon = (host.window("day", host.now())) + 43200 -- days of 23 and of 25 hours have one
  return (host.window("day", noon + days * 86400))
end

--- A moment of the past: a span is so long ago.
---@param host table what lua_clerk.c gives
---@param text string
---@return number|nil, string|nil
function when.past(host, text)
  local span = words.span(text)
  local at = span and host.now() - span or read_moment(host, text)
  if at then return at end
  return nil, 'must be a time ago ("30m", "12h", "7d"), a day ("today", "yesterday", "2026-11-20") '
    .. 'or a moment ("14:03", "2026-11-20T14:03")'
end

--- A moment that is to come: a span is so long from now.
---@param host table what lua_clerk.c gives
---@param text string
---@return number|nil, string|nil
function when.future(host, text)
  local now = math.floor(host.now())
  local span = words.span(text)
  if span then return now + span end
  local at = type(text) == "string" and read_moment(host, text)
  if at and at < now then return nil, ("'%s' is past"):format(text) end
  if at then return at end
  return nil, 'must be a time from now ("12h", "90d"), a day ("2027-01-31") or a moment '
    .. '("2027-01-31T18:00"), or "never"'
end

return when
