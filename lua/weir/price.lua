--- price.lua -- what the tokens of a target cost: weir.lua's prices, then those that come along.
---
--- Prices are dollars a million tokens; here they become whole micro-dollars a million, which the
--- core multiplies and adds without a fraction.
local price = {}

local function whole(dollars) return math.floor(dollars * 1e6 + 0.5) end

---@param entry { input: number, output: number, cached: number|nil, reasoning: number|nil }
---@param is_own boolean weir.lua's
local function read(entry, is_own)
  return {
    own = is_own and 1 or 0,
    input = whole(entry.input), output = whole(entry.output),
    cached = whole(entry.cached or entry.input),
    reasoning = whole(entry.reasoning or entry.output),
  }
end

local function entry_of(input, output, cached)
  return input and { input = tonumber(input), output = tonumber(output),
    cached = tonumber(cached) } or nil
end

--- The entry of the table that comes along.
local function listed(type, model)
  local list = require("weir.prices").list
  local _, at = list:find("\n" .. type .. "/" .. model .. " ", 1, true)
  return at and entry_of(list:match("^(%S+) (%S+) (%S+)\n", at + 1))
end

--- The same for names that providers take for it: in capitals, with Gemini's "models/" before it,
--- and of a version by its date, which costs what the model does where nobody says otherwise.
local function shipped(type, model)
  local name = model:lower():gsub("^models/", "")
  local undated = name:gsub("[-@]20%d%d%-?%d%d%-?%d%d$", ""):gsub("%-latest$", "")
  return listed(type, model) or name ~= model and listed(type, name)
    or undated ~= name and listed(type, undated) or nil
end

--- What some provider takes for a model of that name: to compare, not to charge.
---@param model string
---@return table|nil
function price.of_model(model)
  return entry_of(require("weir.prices").list:match("\n%w+/" .. model:gsub("%p", "%%%0")
    .. " (%S+) (%S+) (%S+)\n"))
end

--- The entry for a target: by the provider's name, then by its type, then by the model alone.
---@param own table<string, table>|nil weir.lua's
---@param name string the provider's
---@param type string the provider's
---@param model string
---@return table|nil, boolean -- whether it is weir.lua's
function price.find(own, name, type, model)
  local said = own and (own[name .. "/" .. model] or own[model])
  return said or shipped(type, model), said ~= nil
end

--- The same as the core wants it, remembered for each target.
---@param own table<string, table>|nil
---@return fun(name: string, type: string, model: string): table|nil
function price.finder(own)
  local known, count = {}, 0
  return function(name, type, model)
    local target = name .. "/" .. model
    local found = known[target]
    if found == nil then
      local entry, is_own = price.find(own, name, type, model)
      found = entry and read(entry, is_own) or false
      if count < 1000 then known[target], count = found, count + 1 end -- clients name models too
    end
    return found or nil
  end
end

return price
