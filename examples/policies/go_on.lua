--- A stream that breaks goes on with the second target.
local weir = require("weir")

return function(first, second)
  weir.targets { first, second }
  return function(req)
    local res, err = req:send(first)
    if not res or not res.stream then return res, err end
    return res:on_break(function(said)
      return req:send(second, { edit = function(body)
        table.insert(body.messages, { role = "assistant", content = said })
      end })
    end)
  end
end
