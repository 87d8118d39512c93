--- Short questions go to the first policy, long ones to the second.
---@type fun(short: weir.Policy, long: weir.Policy, limit: integer): weir.Policy
return function(short, long, limit)
  return function(req)
    local messages = req.body.messages or {}
    if #messages > 200 then return req:reply(413, "please begin a new conversation") end

    local last = messages[#messages] or {}
    local is_short = type(last.content) == "string" and #last.content <= limit
    return (is_short and short or long)(req)
  end
end
