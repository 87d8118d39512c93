--- cap.lua -- no answer of more than so many tokens, whatever the client asks for.
local waterfall = require("policies.waterfall")

local NAMES = { "max_completion_tokens", "max_tokens" } -- the second is the older one

--- cap(policy, { tokens = 1000 })
---@param policy weir.Policy|weir.Target[]
---@param opts { tokens: integer, member: string|nil } member: which one is set where the client
---  sets neither; max_tokens, which all providers know
---@return weir.Policy
return function(policy, opts)
  if type(policy) == "table" then policy = waterfall(policy) end
  if type(opts) ~= "table" or type(opts.tokens) ~= "number" or opts.tokens < 1 then
    error("cap wants tokens = n, the most that an answer may have", 2)
  end
  local most, member = opts.tokens, opts.member or "max_tokens"

  return function(req)
    if req.endpoint == "embeddings" then return policy(req) end
    local body, is_set = req.body, false
    for _, name in ipairs(NAMES) do
      local asked = body[name]
      if type(asked) == "number" then
        is_set = true
        if asked > most then body[name] = most end
      end
    end
    if not is_set then body[member] = most end
    return policy(req)
  end
end
