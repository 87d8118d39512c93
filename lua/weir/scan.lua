--- scan.lua -- finds the next of several patterns in a text.
---
--- Each pattern is searched once from one end of a text to the other, whatever the others
--- find: the time does not grow with the number of places times the length.
local scan = {}

local function searcher(pattern)
  if type(pattern) == "function" then return pattern end
  return function(text, init) return text:find(pattern, init) end
end

--- The first place from init on that holds at least one byte.
local function search(find, text, init)
  while init <= #text do
    local first, last = find(text, init)
    if not first then return nil end
    if last >= first then return first, last end
    init = first + 1
  end
end

--- A function like string.find that also gives the replacement: find(text, init) -> first,
--- last, replacement. rules: { { pattern or function like string.find, replacement }, … };
--- where two begin at one place, the longer wins.
---@param rules { [1]: string|function, [2]: string }[]
---@return fun(text: string, init: integer): integer|nil, integer, string
function scan.new(rules)
  local searchers, places, known = {}, {}, nil
  for i, rule in ipairs(rules) do searchers[i] = searcher(rule[1]) end

  local function place_of(i, text, init)
    local place = places[i]
    if place == nil or place and place.first < init then
      local first, last = search(searchers[i], text, init)
      place = first and { first = first, last = last }
      places[i] = place or false
    end
    return place
  end

  return function(text, init)
    if text ~= known or init == 1 then places, known = {}, text end
    local best, replacement
    for i = 1, #rules do
      local place = place_of(i, text, init)
      if place and (not best or place.first < best.first
          or place.first == best.first and place.last > best.last) then
        best, replacement = place, rules[i][2]
      end
    end
    if best then return best.first, best.last, replacement end
  end
end

--- The text with every place replaced.
---@param text string
---@param find fun(text: string, init: integer): integer|nil, integer, string
---@return string
function scan.replace(text, find)
  local parts, position = {}, 1
  while true do
    local first, last, replacement = find(text, position)
    if not first then break end
    parts[#parts + 1] = text:sub(position, first - 1)
    parts[#parts + 1] = replacement
    position = last + 1
  end
  if position == 1 then return text end
  parts[#parts + 1] = text:sub(position)
  return table.concat(parts)
end

return scan
