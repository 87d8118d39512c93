--- clerk_text.lua -- answers of the clerk as lines, for people and spreadsheets.
local words = require("weir.clerk_words")
local text = {}

local MONEY = { cost = true, spent = true, reserved = true, left = true }

--- What is shown in other words than it is kept in; row is the whole of which it is a part.
local SHOW = {
  budget = function(value, row)
    local period = row.period and row.period ~= "total" and "/" .. row.period or ""
    return words.money(value) .. period
  end,
  soft = function(value) return ("%.6g%%"):format(value * 100) end,
  store = words.show_span,
  rpm = words.show_count, tpm = words.show_count, concurrent = words.show_count,
}

--- A terminal obeys control characters, of which a model's name may have any; they are shown as
--- "?".
local function plain(value)
  return (value:gsub("%c", "?"):gsub("\194[\128-\159]", "?"))
end

local function cell(name, value, row)
  if value == nil or value == "" then return "-" end
  if MONEY[name] then return words.money(value) end
  if SHOW[name] then return SHOW[name](value, row) end
  if type(value) == "boolean" then return value and "yes" or "no" end
  if type(value) == "table" then return table.concat(value, ",") end
  if type(value) == "number" then return ("%.15g"):format(value) end
  return plain(tostring(value))
end

--- "2026-11-22T18:16:50+01:00" as the ledger's clocks show it; of midnight the day.
local function brief_time(value)
  return (value:gsub("^(%d%d%d%d%-%d%d%-%d%d)T(%d%d:%d%d:%d%d)[+-]%d%d:%d%d$", "%1 %2")
    :gsub(" 00:00:00$", ""))
end

local function brief_cell(name, value, row)
  if MONEY[name] and value then return words.brief_money(value) end
  local shown = cell(name, value, row)
  return type(value) == "string" and brief_time(shown) or shown
end

--- Amounts have their points below one another.
local function align_points(cells, at)
  local most = 0
  for _, line in ipairs(cells) do most = math.max(most, #(line[at]:match("%.(%d+)$") or "")) end
  for _, line in ipairs(cells) do
    local digits = line[at]:match("%.(%d+)$")
    line[at] = line[at] .. (" "):rep(digits and most - #digits or 0)
  end
end

--- The columns of numbers, whose cells end together.
local function number_columns(rows, columns)
  local are = {}
  for i, name in ipairs(columns) do
    for _, row in ipairs(rows) do
      are[i] = are[i] or type(row[name]) == "number" and name ~= "budget"
    end
  end
  return are
end

--- Rows under their names, each column as wide as it must be, and as least says: it is one page
--- of several.
---@param rows table[]
---@param columns string[]
---@param least table<string, number>|nil
---@return string
function text.table(rows, columns, least)
  if #rows == 0 then return "none\n" end
  local widths, lines, cells = {}, {}, {}
  for i, name in ipairs(columns) do widths[i] = least and least[name] end
  for y, row in ipairs(rows) do
    cells[y] = {}
    for i, name in ipairs(columns) do cells[y][i] = brief_cell(name, row[name], row) end
  end
  local heads, is_number = {}, number_columns(rows, columns)
  for i, name in ipairs(columns) do
    heads[i] = name:upper()
    if MONEY[name] then align_points(cells, i) end
  end
  table.insert(cells, 1, heads)
  for _, line in ipairs(cells) do
    for i, value in ipairs(line) do widths[i] = math.max(widths[i] or 0, #value) end
  end
  for y, line in ipairs(cells) do
    local parts = {}
    for i, value in ipairs(line) do
      local space = (" "):rep(widths[i] - #value)
      parts[i] = is_number[i] and space .. value or value .. space
    end
    lines[y] = table.concat(parts, "  "):gsub("%s+$", "")
  end
  return table.concat(lines, "\n") .. "\n"
end

local function csv_cell(value)
  if value == nil then return "" end
  if type(value) == "number" then return ("%.15g"):format(value) end
  value = type(value) == "table" and table.concat(value, ",") or tostring(value)
  if value:find("^[=+@\t\r-]") then value = "'" .. value end -- a text, to a spreadsheet
  if value:find('[",\r\n]') then return '"' .. value:gsub('"', '""') .. '"' end
  return value
end

--- RFC 4180; money in micro-dollars.  What a spreadsheet would take for a formula has a ' before
--- it.
function text.csv(rows, columns)
  local lines = { table.concat(columns, ",") }
  for _, row in ipairs(rows) do
    local cells = {}
    for i, name in ipairs(columns) do cells[i] = csv_cell(row[name]) end
    lines[#lines + 1] = table.concat(cells, ",")
  end
  return table.concat(lines, "\r\n") .. "\r\n"
end

--- One thing, a member a line, in that order; what it has not is left out.
function text.sheet(row, names)
  local lines = {}
  for _, name in ipairs(names) do
    local value = row[name]
    if type(value) == "table" then
      local parts = {}
      for key, part in pairs(value) do
        parts[#parts + 1] = type(key) == "number" and tostring(part) or key .. "=" .. part
      end
      table.sort(parts)
      value = #parts > 0 and table.concat(parts, ", ") or nil
    end
    if value ~= nil and value ~= "" then
      lines[#lines + 1] = ("%-11s %s\n"):format(name, cell(name, value, row))
    end
  end
  return table.concat(lines)
end

return text
