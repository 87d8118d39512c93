--- attempts.lua -- what policies that only choose an order share: asking the targets in it.

--- Asks each of the targets, in order, until one answers.
---@param req weir.Request
---@param targets weir.Target[] without those that are cooling
---@return weir.Response|nil
---@return weir.Failure|nil
return function(req, targets)
  local failure
  for _, target in ipairs(targets) do
    local res, err = req:send(target)
    while err and err.other_key do res, err = req:send(target) end -- one key is spent, not all
    if res then return res end
    if err.final then return nil, err end
    failure = err
  end
  return nil, failure
end
