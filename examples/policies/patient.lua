--- The first target gets ten seconds to begin and its own temperature; the second all the time.
local weir = require("weir")

return function(fast, slow)
  weir.targets { fast, slow } -- so that weir check finds one that names no provider
  return function(req)
    local res, err = req:send(fast, {
      timeout = { first = 10 },
      edit = function(body) body.temperature = 0.2 end,
    })
    if res or err.final then return res, err end
    return req:send(slow)
  end
end
