--- provider.lua -- how one kind of provider says only what differs from another.
---
--- A provider module is a plain table; lua/weir/providers/openai.lua names all its members.
local provider = {}

--- A list has a first element; an empty table is a list when what it replaces is one.
local function is_list(value)
  return value[1] ~= nil
end

local function merge(base, changes)
  if type(base) ~= "table" or type(changes) ~= "table" then return changes end
  if is_list(base) or is_list(changes) then return changes end
  local merged = {}
  for name, value in pairs(base) do merged[name] = value end
  for name, value in pairs(changes) do merged[name] = merge(base[name], value) end
  return merged
end

--- A provider that is like base but for the changes: tables of names are merged, lists and
--- plain values replaced. Neither argument is changed.
---@param base string|table the name of a module in lua/weir/providers/, or a module
---@param changes table
---@return table
function provider.extend(base, changes)
  if type(base) == "string" then base = require("weir.providers." .. base) end
  return merge(base, changes)
end

return provider
