--- assertions.lua -- assert as specs use it: busted's names, so that a spec can move there.
local assertions = {}

local MAX_SHOWN = 2000 -- bytes of a value in a message

local function key_order(a, b)
  if type(a) == type(b) and type(a) ~= "table" and type(a) ~= "boolean" then return a < b end
  return tostring(a) < tostring(b)
end

--- A value as Lua would write it, members in order.
local function show(value, indent, seen)
  if type(value) == "string" then return ("%q"):format(value):gsub("\\\n", "\\n") end
  if type(value) ~= "table" then return tostring(value) end
  if seen[value] then return "(itself)" end
  seen[value] = true
  local keys, lines = {}, {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, key_order)
  for i, key in ipairs(keys) do
    local name = key == i and "" or (type(key) == "string" and key or "[" .. tostring(key) .. "]")
      .. " = "
    lines[i] = indent .. "  " .. name .. show(value[key], indent .. "  ", seen)
  end
  seen[value] = nil
  return #lines == 0 and "{}" or "{\n" .. table.concat(lines, ",\n") .. "\n" .. indent .. "}"
end

local function shown(value)
  local text = show(value, "", {})
  return #text > MAX_SHOWN and text:sub(1, MAX_SHOWN) .. "…" or text
end

local function is_same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not is_same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

local function differ(expected, actual, ...)
  return ("expected: %s\ngot:      %s"):format(shown(expected), shown(actual)), ...
end

--- Each gives nothing when it holds, else the sentence, and what the spec added.
local checks = {}

function checks.equal(expected, actual, why)
  if expected ~= actual then return differ(expected, actual, why) end
end

function checks.not_equal(unwanted, actual, why)
  if unwanted == actual then return "expected anything but " .. shown(unwanted), why end
end

function checks.same(expected, actual, why)
  if not is_same(expected, actual) then return differ(expected, actual, why) end
end

function checks.is_nil(actual, why)
  if actual ~= nil then return differ(nil, actual, why) end
end

function checks.is_not_nil(actual, why)
  if actual == nil then return "expected something, got nil", why end
end

function checks.is_true(actual, why)
  if actual ~= true then return differ(true, actual, why) end
end

function checks.is_false(actual, why)
  if actual ~= false then return differ(false, actual, why) end
end

function checks.truthy(actual, why)
  if not actual then return "expected what counts as true, got " .. shown(actual), why end
end

function checks.falsy(actual, why)
  if actual then return "expected nil or false, got " .. shown(actual), why end
end

function checks.matches(pattern, actual, init, plain)
  if type(actual) == "string" and actual:find(pattern, init, plain) then return end
  return ("expected a match for %q\nin %s"):format(pattern, shown(actual))
end

--- expected: a text that the error is, or, after its place, ends with.
function checks.has_error(fn, expected)
  local ok, err = pcall(fn)
  if ok then return "expected an error, none came" end
  local said = type(err) == "string" and err:gsub("^[^\n]-:%d+: ", "") or err
  if expected ~= nil and expected ~= err and expected ~= said then return differ(expected, err) end
end

function checks.has_no_error(fn)
  local ok, err = pcall(fn)
  if not ok then return "expected no error, got " .. shown(err) end
end

local ALIASES = {
  are_equal = "equal", equals = "equal", are_same = "same", not_nil = "is_not_nil",
  is_truthy = "truthy", is_falsy = "falsy", has_match = "matches", match = "matches",
  error = "has_error", errors = "has_error", no_error = "has_no_error",
}

local function named(name)
  local check = checks[ALIASES[name] or name]
  if check then return check end
  local names = {}
  for known in pairs(checks) do names[#names + 1] = known end
  table.sort(names)
  error(("assert has no '%s'; it has %s"):format(tostring(name), table.concat(names, ", ")), 3)
end

local function plain_assert(_, ...)
  local value, message = ...
  if value then return ... end
  error(message == nil and "assertion failed!" or message, 2)
end

--- The assert of a spec: a function, and a table of checks.
assertions.assert = setmetatable({}, {
  __call = plain_assert,
  __index = function(self, name)
    local check = named(name)
    local function call(...)
      local sentence, why = check(...)
      if sentence then error((why and tostring(why) .. "\n" or "") .. sentence, 2) end
    end
    rawset(self, name, call)
    return call
  end,
})

return assertions
