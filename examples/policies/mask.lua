--- Words of ours never leave the house, also when a chunk border cuts one in two.
local weir = require("weir")

return function(policy, word)
  local function find(text, init)
    local first, last = text:find(word, init, true)
    return first, last, "[name]"
  end

  return function(req)
    local res, err = policy(req)
    if not res then return nil, err end
    local window = weir.window(#word) -- one serves one response
    return res:map(function(event) return window:map(event, find) end)
  end
end
