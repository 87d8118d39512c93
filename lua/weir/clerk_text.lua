--- clerk_text.lua -- answers of the clerk as lines, for people and spreadsheets.
local words = require("weir.clerk_words")
local text = {}

local MONEY = { cost = true, budget = true, spent = true, reserved = true, left = true }

--- A terminal obeys control characters, of which a model's name may have any; they are shown as
--- "?".
local function plain(value)
  return (value:gsub("%c", "?"):gsub("\194[\128-\159]", "?"))
end

local function cell(name, value)
  if value == nil then return "-" end
  if MONEY[name] then return words.money(value) end
  if name == "soft" then return ("%.6g%%"):format(value * 100) end
  if name == "store" then return words.show_span(value) end
  if type(value) == "boolean" then return value and "yes" or "no" end
  if type(value) == "table" then return table.concat(value, ",") end
  if type(value) == "number" then return ("%.15g"):format(value) end
  return plain(tostring(value))
end

--- Rows under their names, each column as wide as it must be.
function text.table(rows, columns)
  local widths, lines = {}, {}
  local cells = { {} }
  for i, name in ipairs(columns) do cells[1][i] = name:upper() end
  for _, row in ipairs(rows) do
    local line = {}
    for i, name in ipairs(columns) do line[i] = cell(name, row[name]) end
    cells[#cells + 1] = line
  end
  for _, line in ipairs(cells) do
    for i, value in ipairs(line) do widths[i] = math.max(widths[i] or 0, #value) end
  end
  for at, line in ipairs(cells) do
    local parts = {}
    for i, value in ipairs(line) do
      local is_number = at > 1 and type(rows[at - 1][columns[i]]) == "number"
      local space = (" "):rep(widths[i] - #value)
      parts[i] = is_number and space .. value or value .. space
    end
    lines[at] = table.concat(parts, "  "):gsub("%s+$", "")
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

--- One thing, a member a line, in that order.
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
    if value ~= nil then lines[#lines + 1] = ("%-11s %s\n"):format(name, cell(name, value)) end
  end
  return table.concat(lines)
end

return text
