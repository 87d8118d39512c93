--- strip.lua -- leaves out a member of the body that a target refused once.
local weir = require("weir")

local DAY = 86400 -- seconds for which it is remembered: providers learn too

local function send(req, target, learned)
  return req:send(target, { edit = function(body)
    for name in (learned:get(target) or ""):gmatch("[%w_]+") do body[name] = nil end
  end })
end

--- strip { "groq/llama-3.3-70b-versatile", "laptop/llama3.2" }
---@param targets weir.Target[] in the order in which they are tried
---@return weir.Policy
return function(targets)
  targets = weir.targets(targets)
  local learned = weir.shared("policies.strip")

  --- Remembers what the target refused; whether that may help.
  local function learn(req, target, err)
    local name = err and err.unsupported
    if not name or req.body[name] == nil then return false end
    learned:set(target, (learned:get(target) or "") .. " " .. name, DAY)
    weir.log.info("strip", { target = target, member = name })
    return true
  end

  return function(req)
    local failure
    for _, target in ipairs(req:available(targets)) do
      local res, err = send(req, target, learned)
      if learn(req, target, err) then
        res, err = send(req, target, learned)
        learn(req, target, err) -- for the next request: this one was asked twice
      end
      if res or err.final then return res, err end
      failure = err
    end
    return nil, failure
  end
end
