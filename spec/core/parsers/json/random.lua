--- Random JSON text, spelt in every way that the grammar has.
--
--     Random.cases(1000, function(random)
--       random:value(3)  random:object({ "a", "b" }, 2)  random:mutate(text)
--     end)

local Random = {}
Random.__index = Random

function Random.new(seed)
  return setmetatable({ state = seed % 2147483646 + 1 }, Random)
end

--- Calls try(random) count times.  The seed is WEIR_SEED, or the clock's, and an error names it.
---@param count integer
---@param try fun(random: table)
function Random.cases(count, try)
  local seed = tonumber(os.getenv("WEIR_SEED")) or os.time() % 1000000
  local random = Random.new(seed)
  for case = 1, count do
    local ok, why = pcall(try, random)
    if not ok then error(("WEIR_SEED=%d, case %d: %s"):format(seed, case, tostring(why)), 0) end
  end
end

--- A whole number from low to high (Park and Miller's generator).
function Random:int(low, high)
  self.state = self.state * 16807 % 2147483647
  return low + self.state % (high - low + 1)
end

function Random:chance(percent)
  return self:int(1, 100) <= percent
end

function Random:pick(list)
  return list[self:int(1, #list)]
end

local SPACES = { " ", "\t", "\n", "\r", "\r\n  ", "    " }

function Random:space()
  return self:chance(75) and "" or self:pick(SPACES)
end

local PIECES = {
  "a", "Z", "0", " ", "~", "\127", "{", "}", "[", "]", ",", ":", "'", "model",
  "prose of some length ",
  '\\"', "\\\\", "\\/", "\\b", "\\f", "\\n", "\\r", "\\t", "\\u0041", "\\u00e9", "\\u20AC",
  "\\ud83d\\ude00", "\\ud800", "\\uDFFF", "\\u0000",
  "\194\128", "\223\191", "\224\160\128", "\237\159\191", "\238\128\128", "\239\187\191",
  "\240\144\128\128", "\244\143\191\191", "\228\189\160\229\165\189", "\240\159\152\128",
}

--- The inside of a string.
function Random:inside(most)
  local pieces = {}
  for i = 1, self:int(0, most or 6) do
    pieces[i] = self:pick(PIECES)
  end
  return table.concat(pieces)
end

local NUMBERS = {
  "0", "-0", "1", "-1", "10", "9007199254740993", "123456789012345678901234567890", "0.1", "1.0",
  "-0.0", "1e-7", "1E+400", "0.30000000000000004", "2e5", "-12.50e-03",
}

function Random:scalar()
  local kind = self:int(1, 5)
  if kind == 1 then return self:pick { "null", "true", "false" } end
  if kind <= 3 then return self:pick(NUMBERS) end
  return '"' .. self:inside() .. '"'
end

function Random:value(depth)
  local kind = depth > 0 and self:int(1, 4) or 4
  if kind == 1 then return self:array(depth) end
  if kind == 2 then
    local names = {}
    for i = 1, self:int(0, 4) do names[i] = self:inside(3) end
    return self:object(names, depth)
  end
  return self:scalar()
end

function Random:array(depth)
  local parts = {}
  for i = 1, self:int(0, 4) do
    parts[i] = self:space() .. self:value(depth - 1) .. self:space()
  end
  return "[" .. (#parts > 0 and table.concat(parts, ",") or self:space()) .. "]"
end

--- An object with members of these names, as written; values[name] is a value's text.
function Random:object(names, depth, values)
  local parts = {}
  for i, name in ipairs(names) do
    local value = values and values[name] or self:value(depth - 1)
    parts[i] = table.concat { self:space(), '"', name, '"', self:space(), ":", self:space(),
      value, self:space() }
  end
  return "{" .. (#parts > 0 and table.concat(parts, ",") or self:space()) .. "}"
end

local BYTES = { '"', "\\", "{", "}", "[", "]", ",", ":", "0", "1", "-", ".", "e", "u", "n", " ",
  "\0", "\31", "\127", "\128", "\191", "\192", "\224", "\237", "\240", "\244", "\255" }

--- The text with a byte changed, taken out, put in, or its end cut off.
function Random:mutate(text)
  local at, act = self:int(1, #text), self:int(1, 4)
  if act == 1 then return text:sub(1, at - 1) .. self:pick(BYTES) .. text:sub(at + 1) end
  if act == 2 then return text:sub(1, at - 1) .. text:sub(at + 1) end
  if act == 3 then return text:sub(1, at) .. self:pick(BYTES) .. text:sub(at + 1) end
  return text:sub(1, at - 1)
end

return Random
