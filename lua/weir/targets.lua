--- targets.lua -- the lists of targets that policies were made with, so that a target that
--- names no provider is found when the configuration is loaded and not when it is tried.
local host = require("weir.host")
local suggest = require("weir.suggest")
local targets = {}

local recorded = {} -- { list =, where = "weir.lua:12" or nil }, in the order they were made

--- "provider/model"; the model may hold slashes, and "*" stands for what the client asked for.
local function is_target(value)
  return type(value) == "string" and value:find("^[%w_.-]+/[^%c]+$") ~= nil
end

local function shown(value)
  return type(value) == "string" and ("%q"):format(value) or require("weir.check").describe(value)
end

--- Checks a policy's list, remembers it and gives it back. Called where a policy is made, so
--- that the error of a bad list points at whoever asked for that policy.
---@param list string[]
---@return string[]
function targets.list(list)
  if type(list) ~= "table" then
    error(("targets must be a list of \"provider/model\", not %s"):format(shown(list)), 3)
  end
  local count = table.maxn(list)
  if count == 0 then error("targets must name at least one \"provider/model\"", 3) end
  for i = 1, count do
    if not is_target(list[i]) then
      error(("target %d must be \"provider/model\", not %s"):format(i, shown(list[i])), 3)
    end
  end
  recorded[#recorded + 1] = { list = list, where = host.where(3) }
  return list
end

--- Every list so far, in order.
---@return string[][]
function targets.recorded()
  local lists = {}
  for i, record in ipairs(recorded) do lists[i] = record.list end
  return lists
end

--- The targets that a policy may try, each once, in the order in which they stand.
---@param policy function
---@param reaches fun(policy: function, list: string[]): boolean
---@return string[]
function targets.of(policy, reaches)
  local found, seen = {}, {}
  for _, record in ipairs(recorded) do
    for _, target in ipairs(reaches(policy, record.list) and record.list or {}) do
      if not seen[target] then found[#found + 1] = target end
      seen[target] = true
    end
  end
  return found
end

--- The path of the first model whose policy holds the list; else where the list was written.
local function path_of(record, settings, reaches)
  for _, model in ipairs(settings.models) do
    if reaches(model.policy, record.list) then
      return require("weir.check").join("models", model.name)
    end
  end
  if settings.fallback and reaches(settings.fallback, record.list) then
    return require("weir.check").join("models", "*")
  end
  return record.where or "weir.targets"
end

--- Targets whose provider the settings do not have.
---@param settings table as config.check gave it
---@param reaches fun(policy: function, list: string[]): boolean
---@return { path: string, message: string, suggestion: string|nil }[]
function targets.problems(settings, reaches)
  local names, known, problems = {}, {}, {}
  for i, provider in ipairs(settings.providers) do
    names[i], known[provider.name] = provider.name, true
  end
  for _, record in ipairs(recorded) do
    for _, target in ipairs(record.list) do
      local name, model = target:match("^([^/]+)/(.*)$")
      if not known[name] then
        local near = suggest(name, names)
        problems[#problems + 1] = {
          path = path_of(record, settings, reaches),
          message = ("target '%s' names no provider"):format(target),
          suggestion = near and near .. "/" .. model,
        }
      end
    end
  end
  return problems
end

return targets
