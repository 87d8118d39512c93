--- hedge.lua -- asks a second target when the first is slow, and takes who answers first.
local weir = require("weir")

--- hedge { "groq/llama-3.3-70b-versatile", "cerebras/llama-3.3-70b", after = 2 }
---@param targets weir.Target[] with after: seconds without content until the next is asked too
---@return weir.Policy
return function(targets)
  local after = targets.after
  if type(after) ~= "number" then error("hedge wants after = s, in seconds", 2) end
  local list = weir.targets(targets)

  return function(req)
    local available = req:available(list)
    if #available == 0 then return nil, nil end
    return req:race(available, { after = after })
  end
end
