--- The thinking stays in the house: a filter, and the policy that adds it.
---@type weir.Filter
local function hide(event)
  if event.kind ~= "reasoning" then return event end
end -- nothing returned: the event is dropped

---@type fun(policy: weir.Policy): weir.Policy
return function(policy)
  return function(req)
    local res, err = policy(req)
    return res and res:map(hide), err
  end
end
