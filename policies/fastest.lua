--- fastest.lua -- the target that was quickest to its first content of late comes first.
local attempts = require("weir.attempts")
local weir = require("weir")

local EXPLORE = 0.05 -- of the requests: a target that nobody asks would stay as slow as it was

--- fastest({ "groq/llama-3.3-70b-versatile", "cerebras/llama-3.3-70b" })
---@param targets weir.Target[]
---@param opts { explore: number|nil }|nil explore: the share of requests that begin with another
---@return weir.Policy
return function(targets, opts)
  targets = weir.targets(targets)
  local explore = opts and opts.explore or EXPLORE

  return function(req)
    local list, latency, place = {}, {}, {}
    for i, target in ipairs(req:available(targets)) do
      list[i], place[target] = target, i
      latency[target] = weir.target(target):latency() or 0 -- who is not known yet is asked first
    end
    table.sort(list, function(a, b)
      if latency[a] ~= latency[b] then return latency[a] < latency[b] end
      return place[a] < place[b]
    end)
    if #list > 1 and math.random() < explore then
      table.insert(list, 1, table.remove(list, math.random(2, #list)))
    end
    return attempts(req, list)
  end
end
