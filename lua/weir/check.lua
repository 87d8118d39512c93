--- check.lua -- reads a table that a person wrote, by a specification, and collects every
--- problem with the path of the member it is about.
---
--- A specification is a table: { kind = "number", default = 60, min = 0 }. Kinds and their
--- other members:
---   number   min, max, above (more than, not equal), integer
---   string, boolean
---   choice   of: the list of words
---   members  members: a specification for each name; unknown names are problems
---   custom   read: function(check, path, value) -> what stands in the settings
---   later    the name is known, the machinery is not there yet
local suggest = require("weir.suggest")

---@class weir.Check
---@field problems { path: string, message: string, suggestion: string|nil }[]
local check = {}
check.__index = check

--- is_secret tells whether a value came from weir.env or weir.file.
---@param is_secret fun(value: any): boolean
---@return weir.Check
function check.new(is_secret)
  return setmetatable({ problems = {}, is_secret = is_secret }, check)
end

--- "providers" and "groq" are "providers.groq"; what is no name is quoted: models["*"].
---@return string
function check.join(path, name)
  if type(name) == "number" then return ("%s[%s]"):format(path, name) end
  name = tostring(name)
  if not name:find("^[%a_][%w_-]*$") then
    return ("%s[%q]"):format(path, name:gsub("%c", "?"):sub(1, 64))
  end
  return path == "" and name or path .. "." .. name
end

--- The keys of a table, as text in order, so that problems come in the same order each time.
---@return any[]
function check.keys(value)
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b) return tostring(a) < tostring(b) end)
  return keys
end

---@param suggestion string|nil
function check:problem(path, message, suggestion)
  self.problems[#self.problems + 1] = { path = path, message = message, suggestion = suggestion }
end

--- A value of the wrong type; what: "a number", "a list of secrets".
function check:wrong(path, what, value, suggestion)
  if self.is_secret(value) then
    self:problem(path, "a secret has no place here: only key, keys and headers take one")
  else
    self:problem(path, ("must be %s, not %s"):format(what, self.describe(value)), suggestion)
  end
end

--- "a string", "nothing"; never the value, which may be a key in the wrong place.
function check.describe(value)
  if value == nil then return "nothing" end
  return "a " .. type(value)
end

--- The value for the settings: checked, with defaults filled in; a problem gives the default.
function check:read(path, spec, value)
  if value == nil then
    if spec.kind ~= "members" then return spec.default end
    value = {}
  end
  return check["read_" .. spec.kind](self, path, spec, value)
end

function check:read_members(path, spec, value)
  if type(value) ~= "table" or self.is_secret(value) then
    self:wrong(path, "a table", value)
    value = {}
  end
  self:check_names(path, spec.members, value)
  local settings = {}
  for _, name in ipairs(check.keys(spec.members)) do
    settings[name] = self:read(check.join(path, name), spec.members[name], value[name])
  end
  return settings
end

--- Every name of value that members does not know.
function check:check_names(path, members, value)
  local known = check.keys(members)
  for _, name in ipairs(check.keys(value)) do
    if members[name] == nil then
      self:problem(check.join(path, name), "unknown member", suggest(tostring(name), known))
    end
  end
end

function check:read_number(path, spec, value)
  if type(value) ~= "number" then
    self:wrong(path, "a number", value)
  elseif value ~= value or spec.min and value < spec.min or spec.above and value <= spec.above
    or spec.max and value > spec.max then
    local least = spec.above and "more than " .. spec.above or "at least " .. spec.min
    self:problem(path, ("must be %s and at most %.15g"):format(least, spec.max))
  elseif spec.integer and value % 1 ~= 0 then
    self:problem(path, "must be a whole number")
  else
    return value
  end
  return spec.default
end

function check:read_string(path, spec, value)
  if type(value) ~= "string" then
    self:wrong(path, "a string", value)
  elseif value == "" or value:find("%c") then
    self:problem(path, "must not be empty or hold control characters")
  else
    return value
  end
  return spec.default
end

function check:read_boolean(path, spec, value)
  if type(value) == "boolean" then return value end
  self:wrong(path, "true or false", value)
  return spec.default
end

function check:read_choice(path, spec, value)
  for _, word in ipairs(spec.of) do
    if value == word then return value end
  end
  local words = '"' .. table.concat(spec.of, '", "') .. '"'
  local near = type(value) == "string" and suggest(value, spec.of) or nil
  if type(value) == "string" then
    self:problem(path, "must be one of " .. words, near)
  else
    self:wrong(path, "one of " .. words, value)
  end
  return spec.default
end

function check:read_custom(path, spec, value)
  local result = spec.read(self, path, value)
  if result == nil then return spec.default end
  return result
end

--- Passed over in silence it would mislead; an empty table says nothing.
function check:read_later(path, spec, value)
  if type(value) == "table" and not self.is_secret(value) and next(value) == nil then
    return spec.default
  end
  self:problem(path, "is not supported yet")
  return spec.default
end

return check
