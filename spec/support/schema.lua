--- Values against the schemas of docs/openapi.yaml: type, required, properties, items, enum, $ref
--- and additionalProperties, false or a schema.

local json = require("dkjson")
local schema = {}

local function kind_of(value)
  if value == json.null then return "null" end
  if type(value) ~= "table" then return type(value) end
  local meta = getmetatable(value)
  return meta and meta.__jsontype or (#value > 0 and "array" or "object")
end

local function is_kind(value, kind)
  local real = kind_of(value)
  return real == kind or kind == "integer" and real == "number" and value % 1 == 0
end

local function has(list, value)
  for _, item in ipairs(list) do
    if item == value then return true end
  end
  return false
end

local function check_kind(one, value, path)
  local kinds = type(one.type) == "table" and one.type or { one.type }
  for _, kind in ipairs(kinds) do
    if is_kind(value, kind) then return end
  end
  error(("%s: is %s, not %s"):format(path, kind_of(value), table.concat(kinds, " or ")), 0)
end

local function check_members(one, value, path, document, seen)
  for _, name in ipairs(one.required or {}) do
    if value[name] == nil then error(("%s: %s is missing"):format(path, name), 0) end
  end
  for name, member in pairs(value) do
    local known = (one.properties or {})[name]
    if known then
      if seen then seen[known] = true end
      schema.check(known, member, path .. "." .. name, document, seen)
    elseif one.additionalProperties == false then
      error(("%s: %s is not described"):format(path, name), 0)
    elseif one.additionalProperties then
      schema.check(one.additionalProperties, member, path .. "." .. name, document, seen)
    end
  end
end

--- Raises where value is not as the schema says. seen: gets the schemas of all members that were
--- there.
function schema.check(one, value, path, document, seen)
  if one["$ref"] then
    local found = document
    for name in one["$ref"]:gmatch("[^#/]+") do found = assert(found[name], one["$ref"]) end
    return schema.check(found, value, path, document, seen)
  end
  check_kind(one, value, path)
  if one.enum and not has(one.enum, value) then error(path .. ": is " .. tostring(value), 0) end
  if kind_of(value) == "array" and one.items then
    for i, item in ipairs(value) do
      schema.check(one.items, item, ("%s[%d]"):format(path, i), document, seen)
    end
  elseif kind_of(value) == "object" then
    check_members(one, value, path, document, seen)
  end
end

return schema
