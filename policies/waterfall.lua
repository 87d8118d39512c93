--- waterfall.lua -- try each target in turn; go on with the next when one fails.
local weir = require("weir")

--- waterfall { "groq/llama-3.3-70b-versatile", "laptop/llama3.2" }
---@param targets string[] "provider/model", in the order in which they are tried
---@return weir.Policy
return function(targets)
  targets = weir.targets(targets)

  return function(req)
    local failure
    for _, target in ipairs(req:available(targets)) do -- without those that are cooling
      local res, err = req:send(target)
      while err and err.other_key do res, err = req:send(target) end -- one key is spent, not all
      if res then return res end
      if err.final then return nil, err end -- the request itself is wrong
      failure = err
    end
    return nil, failure
  end
end
