local weir = require("weir")
return function(target, pause) -- an overloaded target is asked once more, after a pause
  return function(req)
    local res, err = req:send(target)
    if res or err.code ~= "overloaded" then return res, err end
    weir.sleep(pause)
    return req:send(target)
  end
end
