--- quota.lua -- what a provider's headers say remains of its limits.
---
--- Which headers, and of which dimension, is data in the provider's file:
---
---   quota_formats = {
---     { dimension = "rpm", header = "x-ratelimit-%s-requests", refills = true },
---     { dimension = "tpm", header = "x-ratelimit-%s-tokens" },
---   }
---
---   header     %s stands for limit, remaining and reset; each of the three may be missing
---   dimension  one of quota.WINDOWS
---   longer     the dimension that is meant where the reset is further than that one's window
---   scope      "model" (the default): of one model of the key; "key": of all its models
---   refills    the reset names the time until all is there again, and it comes back steadily:
---              once it is spent, one more is there after reset / limit
---   zero       "unknown": a remaining of 0 says nothing
---
--- Unknown is unknown, never 0: a value that is negative or cannot be read is left out, and so
--- is a whole quota whose limit is no limit.
local moment = require("weir.moment")
local retry_after = require("weir.retry_after")
local quota = {}

--- The dimensions, and the seconds that each counts over; concurrent counts what is in flight.
--- r is requests, t tokens, i and o those of input and output.
quota.WINDOWS = {
  rps = 1, rpm = 60, rph = 3600, rpd = 86400, rpmonth = 30 * 86400,
  tpm = 60, tph = 3600, tpd = 86400, tpmonth = 30 * 86400,
  itpm = 60, otpm = 60,
  concurrent = 0,
}

local NAMES = {} -- of the dimensions, for messages
for name in pairs(quota.WINDOWS) do NAMES[#NAMES + 1] = name end
table.sort(NAMES)

local MAX_COUNT = 2 ^ 53 -- no count is higher, and each is exact

--- A count, whole: "12", "12.0"; "-1" is some providers' word for unknown.
local function count_of(text)
  local number = moment.decimal(text)
  if not number or number > MAX_COUNT then return nil end
  return math.floor(number)
end

--- Of a quota that is spent and names no time, the answer's own Retry-After says it.
local function reset_of(format, limit, remaining, headers, now)
  local reset = moment.wait(headers[format.reset], now)
  if not reset and remaining == 0 then return retry_after.read(headers, now) end
  if reset and format.refills and remaining == 0 and limit then return reset / limit end
  return reset
end

--- What one format finds, or nil.
local function read_one(format, headers, now)
  local limit, remaining = count_of(headers[format.limit]), count_of(headers[format.remaining])
  if limit == 0 or remaining == 0 and format.zero == "unknown" then return nil end
  if not limit and not remaining then return nil end
  local reset = reset_of(format, limit, remaining, headers, now)
  local is_longer = format.longer and reset and reset > quota.WINDOWS[format.dimension]
  return {
    dimension = is_longer and format.longer or format.dimension,
    scope = format.scope,
    limit = limit,
    remaining = remaining,
    reset = reset,
  }
end

--- Whether a says less than b of the same dimension.
local function is_tighter(a, b)
  local left, right = a.remaining or math.huge, b.remaining or math.huge
  if left ~= right then return left < right end
  return (a.reset or 0) > (b.reset or 0)
end

--- Adds it, or lets the tighter one of the same dimension and scope stand.
local function add(list, found)
  for i, other in ipairs(list) do
    if other.dimension == found.dimension and other.scope == found.scope then
      if is_tighter(found, other) then list[i] = found end
      return
    end
  end
  list[#list + 1] = found
end

local function expand(formats)
  local rows, names = {}, {}
  for i, format in ipairs(formats) do
    local row = {}
    for name, value in pairs(format) do row[name] = value end
    row.scope = format.scope or "model"
    for _, part in ipairs { "limit", "remaining", "reset" } do
      row[part] = format.header:format(part)
      names[#names + 1] = row[part]
    end
    rows[i] = row
  end
  if #rows > 0 then
    names[#names + 1] = "retry-after"
    names[#names + 1] = "retry-after-ms"
  end
  return rows, names
end

local MEMBERS = {
  dimension = "string", longer = "string", header = "string", scope = "string",
  refills = "boolean", zero = "string",
}
local SCOPES = { model = true, key = true }

--- The member of a format that is wrong, and a sentence; nil when all is well.
local function problem_of(format)
  if type(format) ~= "table" then return "", "must be a table" end
  for name, value in pairs(format) do
    if not MEMBERS[name] then return "." .. tostring(name), "unknown member" end
    if type(value) ~= MEMBERS[name] then return "." .. name, "must be a " .. MEMBERS[name] end
  end
  for _, name in ipairs { "dimension", "longer" } do
    local value = format[name] or name == "dimension" and "" -- this one has to be there
    if value and not quota.WINDOWS[value] then
      return "." .. name, ("must be one of %s"):format(table.concat(NAMES, ", "))
    end
  end
  local header = format.header or ""
  if not header:find("^[a-z0-9_-]*%%s[a-z0-9_-]*$") then
    return ".header", "must be a name in lower case with one %s, for limit, remaining and reset"
  end
  if format.scope and not SCOPES[format.scope] then return ".scope", "must be model or key" end
end

--- What is wrong with a provider's quota_formats, or nil.
---@param formats any
---@return string|nil path as "quota_formats[1].header"
---@return string|nil message
function quota.problem(formats)
  if formats == nil then return nil end
  if type(formats) ~= "table" then return "quota_formats", "must be a list of tables" end
  for i = 1, table.maxn(formats) do
    local member, message = problem_of(formats[i])
    if member then return ("quota_formats[%d]%s"):format(i, member), message end
  end
end

--- Makes a provider's reader, once for each configuration. The names, in lower case, are all
--- that the reader looks at, so that the core need not show it more; of a provider without
--- any it need not be called.
---
--- quotas(headers, now) gives a list of { dimension, scope, limit, remaining, reset }, each
--- dimension of a scope once: counts are whole and not negative; reset is the seconds from now
--- until there is room again; what the provider did not say is nil. It never raises.
---@param formats table[]|nil
---@return string[] names
---@return fun(headers: table<string, string>, now: number|nil): weir.Quota[] quotas
function quota.reader(formats)
  local rows, names = expand(formats or {})
  return names, function(headers, now)
    local list = {}
    for i = 1, #rows do
      local found = read_one(rows[i], headers, now)
      if found then add(list, found) end
    end
    return list
  end
end

return quota
