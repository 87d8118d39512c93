--- sticky.lua -- a conversation stays with its target, whose prompt cache then knows it.
local attempts = require("weir.attempts")
local weir = require("weir")

local FIRST = 2  -- messages that name a conversation: mostly the system's, and the question
local ENDS = 256 -- bytes from each end of them that are hashed

--- FNV-1a, 32 bits; the multiplication in two halves, for a double holds 53 bits.
local function hash(text, sum)
  for i = 1, #text do
    sum = bit.bxor(sum, text:byte(i)) % 4294967296
    sum = (sum % 65536 * 16777619 + bit.lshift(math.floor(sum / 65536) * 403 % 65536, 16))
      % 4294967296
  end
  return sum
end

local function conversation(req)
  local body, parts = req.body, {}
  if req.endpoint ~= "chat" then return weir.json.encode(body.prompt or body.input or "") end
  for i = 1, math.min(FIRST, #body.messages) do parts[i] = weir.json.encode(body.messages[i]) end
  return table.concat(parts)
end

--- sticky({ "openai/gpt-4o-mini", "azure/gpt-4o-mini" })
---@param targets weir.Target[]
---@param opts { key: (fun(req: weir.Request): string)|nil }|nil key: what names a conversation,
---  else its first two messages
---@return weir.Policy
return function(targets, opts)
  targets = weir.targets(targets)
  local key = opts and opts.key or conversation

  return function(req)
    local list, score = req:available(targets), {}
    local name = key(req)
    local sum = hash(#name .. name:sub(1, ENDS) .. name:sub(-ENDS), 2166136261)
    -- each target has a score of its own: when one cools, only its conversations move
    for _, target in ipairs(list) do score[target] = hash(target, sum) end
    table.sort(list, function(a, b) return score[a] > score[b] end)
    return attempts(req, list)
  end
end
