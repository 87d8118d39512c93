--- A filter: text in capitals, everything else as it came.
local function shout(event)
  if event.kind == "content" and event.text then event.text = event.text:upper() end
  return event
end

return function(policy)
  return function(req)
    local res, err = policy(req)
    return res and res:map(shout), err
  end
end
