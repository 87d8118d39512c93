--- shadow.lua -- a copy of some requests goes to a second target; its answer is only logged.
local waterfall = require("policies.waterfall")
local weir = require("weir")

--- shadow(policy, { to = "laptop/llama3.2", share = 0.1 })
---@param policy weir.Policy|weir.Target[]
---@param opts { to: weir.Target, share: number|nil, timeout: weir.Timeout|nil,
---  edit: (fun(body: table))|nil } share: of the requests, else all; timeout and edit: the copy's
---@return weir.Policy
return function(policy, opts)
  if type(policy) == "table" then policy = waterfall(policy) end
  if type(opts) ~= "table" then error("shadow wants to = target, where the copies go", 2) end
  weir.targets { opts.to }
  local share = opts.share or 1
  if type(share) ~= "number" or share < 0 or share > 1 then
    error("shadow: share is a part of the requests, from 0 to 1", 2)
  end

  return function(req)
    if math.random() < share then
      req:shadow(opts.to, { timeout = opts.timeout, edit = opts.edit })
    end
    return policy(req)
  end
end
