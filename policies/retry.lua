--- retry.lua -- asks the same again after a pause: twice as long each time, and never all at once.
local waterfall = require("policies.waterfall")
local weir = require("weir")

local AGAIN = { -- what may pass by itself
  overloaded = true, rate_limited = true, timeout = true, reset = true, refused = true,
  bad_response = true, truncated = true,
}
local FULL = 10 -- retries that are saved up while nothing fails

--- Whether one more retry is within the budget. Each request earns a share of one, so that
--- retries cannot multiply the load on what is down.
local function spend(budget, name)
  local left = budget:get(name)
  if left and left < 1 then return false end
  budget:incr(name, left and -1 or FULL - 1)
  return true
end

local function earn(budget, name, share)
  local left = budget:get(name)
  if left and left < FULL then budget:incr(name, share) end
end

--- retry("groq/llama-3.3-70b-versatile", { times = 2, pause = 0.5 })
---@param policy weir.Policy|weir.Target
---@param opts table|nil times: 2 more; pause: 0.5 s before the first; longest: 8 s; share: 0.2
---  retries a request in the long run; name: of the budget, where policies are not to share one
---@return weir.Policy
return function(policy, opts)
  if type(policy) == "string" then
    local target = weir.targets { policy }[1]
    local although = { cooling = true } -- the pause here is the one that counts
    policy = function(req) return req:send(target, although) end
  elseif type(policy) == "table" then
    policy = waterfall(policy)
  end
  opts = opts or {}
  local times, longest = opts.times or 2, opts.longest or 8
  local name, budget = opts.name or "all", weir.shared("policies.retry")

  return function(req)
    local pause = opts.pause or 0.5
    earn(budget, name, opts.share or 0.2)
    local res, err = policy(req)
    for _ = 1, times do
      local wait = math.max(pause * (0.5 + math.random() / 2), err and err.retry_after or 0)
      local is_over = res or not err or err.final or not AGAIN[err.code] or wait > longest
      if is_over or not spend(budget, name) then break end
      weir.sleep(wait)
      pause = math.min(pause * 2, longest)
      res, err = policy(req)
    end
    return res, err
  end
end
