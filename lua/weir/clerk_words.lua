--- clerk_words.lua -- the words in which people give limits of keys, and how they are shown.
local words = {}

local UNIT = { [""] = 1, k = 1e3, m = 1e6 }
local SECONDS = { s = 1, m = 60, h = 3600, d = 86400, w = 7 * 86400 }
local PERIOD = {
  day = "day", daily = "day", week = "week", weekly = "week", month = "month", monthly = "month",
  total = "total",
}
local MAX_COUNT = 1e9 -- so that sums of limits and of what requests want fit in 32 bits
local MAX_MONEY = 1e9 -- dollars: exact in a double of micro-dollars

--- "100k" is 100000; "none" is no limit, false.
---@return number|false|nil, string|nil
function words.count(text)
  if text == "none" then return false end
  local number, unit = tostring(text):lower():match("^(%d+%.?%d*)([km]?)$")
  local count = number and tonumber(number) * UNIT[unit]
  if not count or count < 1 or count > MAX_COUNT or count % 1 ~= 0 then
    return nil, 'must be a whole number such as 60, "100k" or "2m", 1000m at most, or "none"'
  end
  return count
end

--- "50usd/month": micro-dollars and the period; without one it is for good. "none": no budget.
---@return number|false|nil, string|nil
function words.budget(text)
  if text == "none" then return false end
  local lower = tostring(text):lower()
  local amount, period = lower:match("^(%d+%.?%d*)usd/?(%a*)$")
  if not amount then amount, period = lower:match("^%$(%d+%.?%d*)/?(%a*)$") end
  period = period and (period == "" and "total" or PERIOD[period])
  if not amount or not period or tonumber(amount) > MAX_MONEY then
    return nil, 'must be like "50usd/month" (or day, week, total), or "none"'
  end
  return math.floor(tonumber(amount) * 1e6 + 0.5), period
end

--- "90d" is so many seconds.
---@return number|nil, string|nil
function words.span(text)
  local number, unit = tostring(text):match("^(%d+)([smhdw])$")
  if not number or tonumber(number) > 1e6 then
    return nil, 'must be a time such as "30m", "12h", "90d" or "4w"'
  end
  return tonumber(number) * SECONDS[unit]
end

--- "1.5s" is 1500.
---@return number|nil, string|nil
function words.milliseconds(text)
  local number, unit = tostring(text):match("^(%d+%.?%d*)(m?s?)$")
  local factor = ({ ms = 1, s = 1000, m = 60000 })[unit]
  if not factor or tonumber(number) > 1e6 then
    return nil, 'must be a time such as "500ms", "10s" or "1.5m"'
  end
  return tonumber(number) * factor
end

--- How long texts are kept; "none" is not at all, false.
---@return number|false|nil, string|nil
function words.keep(text)
  if text == "none" then return false end
  local span = words.span(text)
  if not span or span == 0 then return nil, 'must be a time such as "12h" or "30d", or "none"' end
  return span
end

--- Seconds in the largest unit that divides them.
---@param seconds number
---@return string
function words.show_span(seconds)
  for _, unit in ipairs { "d", "h", "m" } do
    if seconds % SECONDS[unit] == 0 then return ("%d%s"):format(seconds / SECONDS[unit], unit) end
  end
  return ("%ds"):format(seconds)
end

--- A count in the largest unit that divides it: "100k".
---@param count number
---@return string
function words.show_count(count)
  for _, unit in ipairs { "m", "k" } do
    if count % UNIT[unit] == 0 then return ("%.15g%s"):format(count / UNIT[unit], unit) end
  end
  return ("%.15g"):format(count)
end

--- A share, "80%" or 0.8.
---@return number|false|nil, string|nil
function words.share(text)
  if text == "none" then return false end
  local percent = tostring(text):match("^(%d+%.?%d*)%%$")
  local share = percent and tonumber(percent) / 100 or tonumber(text)
  if not share or not (share > 0 and share <= 1) then -- "nan" is a number
    return nil, 'must be a share such as "80%", or "none"'
  end
  return share
end

--- A name of a key, a team or a label: it stands in logs, paths and metrics.
---@return string|nil, string|nil
function words.name(text)
  if type(text) ~= "string" or #text > 63 or not text:find("^[%w][%w._@-]*$") then
    return nil, "must have letters, digits and . _ - @ only, 63 at most, and begin with a letter "
      .. "or a digit"
  end
  return text
end

--- "default,fast" or a list, as the names with a comma behind each; "any" is every model.
---@return string|false|nil, string|nil
function words.models(value)
  if value == "any" then return false end
  local problem = 'must be names of models such as "default,fast", 500 bytes at most, or "any"'
  local list = {}
  for _, text in ipairs(type(value) == "table" and value or { value }) do
    if type(text) ~= "string" then return nil, problem end
    for name in text:gmatch("[^,]+") do list[#list + 1] = name:match("^%s*(.-)%s*$") end
  end
  local joined = table.concat(list, ",") .. ","
  if #list == 0 or #joined > 500 or joined:find("%c") then return nil, problem end
  return joined
end

--- "env=prod", a list of such, or a table by name: as lines. "none": no label.
---@return string|false|nil, string|nil
function words.labels(value)
  local list, has, problem = {}, {}, 'must be like "env=prod", 500 bytes at most in all, or "none"'
  if type(value) ~= "table" then value = { value } end
  if #value == 1 and value[1] == "none" then return false end
  for name, label in pairs(value) do
    if type(label) == "table" or type(label) == "userdata" then return nil, problem end
    local text = type(name) == "number" and tostring(label) or name .. "=" .. tostring(label)
    local of = text:match("^([%w_.-]+)=[^%c]*$")
    if not of then return nil, problem end
    if has[of] then return nil, ("has %s twice"):format(of) end
    has[of] = true
    list[#list + 1] = text
  end
  table.sort(list)
  local joined = table.concat(list, "\n") .. (#list > 0 and "\n" or "")
  if #joined > 500 then return nil, problem end
  return joined
end

--- Micro-dollars as people read them.
function words.money(micro)
  if micro == nil then return "-" end
  local text = ("%.6f"):format(micro / 1e6):gsub("0+$", "")
  local whole, part = text:match("^(%-?%d+)%.(%d*)$")
  return ("$%s.%s"):format(whole, part .. ("0"):rep(math.max(0, 2 - #part)))
end

--- The same in a table, where cents do from a dollar on.
---@param micro number
---@return string
function words.brief_money(micro)
  if micro < 1e6 then return words.money(micro) end
  return words.money(math.floor(micro / 1e4 + 0.5) * 1e4)
end

return words
