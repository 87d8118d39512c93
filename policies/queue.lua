--- queue.lua -- while all targets cool, waits for the first that is back, each client key in turn.
local waterfall = require("policies.waterfall")
local weir = require("weir")

local STEP = 0.02 -- seconds after which is looked again, where it is another's turn
local MAY_PASS = { rate_limited = true, overloaded = true }

--- queue({ "groq/llama-3.3-70b-versatile", "laptop/llama3.2" }, { wait = 30, length = 100 })
---@param targets weir.Target[]
---@param opts table|nil wait: seconds at most; length: how many may wait; policy: what is asked
---@return weir.Policy
return function(targets, opts)
  targets, opts = weir.targets(targets), opts or {}
  local policy, length = opts.policy or waterfall(targets), opts.length or 100
  local waiting, number, turn, turns = {}, 0, 0, {} -- turns: when each key had its last

  local function goes_before(a, b)
    local one, other = turns[a.key] or 0, turns[b.key] or 0
    return one < other or one == other and a.number < b.number
  end

  --- Whose turn it is. Takes out whose client has left: a request that is over cannot be read.
  local function first()
    local best
    for i = #waiting, 1, -1 do
      local place = waiting[i]
      if not pcall(function() return place.req.id end) then table.remove(waiting, i)
      elseif not best or goes_before(place, best) then best = place end
    end
    return best
  end

  --- Until a target is there and it is this one's turn; false: there is no room, or no time.
  local function wait_turn(req, place, last)
    if not first() then turns = {} end
    if #waiting >= length then return false end
    waiting[#waiting + 1], place.req = place, req
    while true do
      local free, wait = req:available(targets)
      if #free > 0 and first() == place then break end
      wait = math.max(wait or 0, STEP)
      if weir.now() + wait > last then place.req = nil return false end
      weir.sleep(wait)
    end
    turn, turns[place.key], place.req = turn + 1, turn + 1, nil
    return true
  end

  return function(req)
    number = number + 1
    local place, last = { key = req.key or "", number = number }, weir.now() + (opts.wait or 30)
    local res, err
    repeat
      local is_waited = #req:available(targets) == 0 or first()
      if is_waited and not wait_turn(req, place, last) then return nil, err end
      res, err = policy(req)
    until res or err and not MAY_PASS[err.code] or #req:available(targets) > 0
    return res, err
  end
end
