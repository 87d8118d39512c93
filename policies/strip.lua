--- strip.lua -- leaves out a member of the body that a target refused once.
local weir = require("weir")

local NEEDED = { model = true, messages = true, prompt = true, input = true, stream = true }
local DAY = 86400 -- seconds for which it is remembered: providers learn too

--- How refusals name a member, where err.param does not. In lower case.
local SENTENCES = {
  "property '([%w_]+)' is unsupported",
  "unsupported parameter:? ['\"`]?([%w_]+)",
  "unknown parameter:? ['\"`]?([%w_]+)",
  "unrecognized request argument supplied: ([%w_]+)",
  "body%.([%w_]+): extra inputs are not permitted",
  "['\"`]([%w_]+)['\"`] is not supported",
  "does not support ['\"`]([%w_]+)",
}

--- The member that the failure is about, if it can be left out.
local function refused(err, body)
  if err.code ~= "client_error" then return nil end
  local message, name = err.message:lower(), nil
  for _, sentence in ipairs(SENTENCES) do name = name or message:match(sentence) end
  local says_so = name or message:find("support", 1, true) or message:find("unknown", 1, true)
  name = name or says_so and err.param
  if name and not NEEDED[name] and body[name] ~= nil then return name end
end

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

  return function(req)
    local failure
    for _, target in ipairs(req:available(targets)) do
      local res, err = send(req, target, learned)
      local name = err and refused(err, req.body)
      if name then
        learned:set(target, (learned:get(target) or "") .. " " .. name, DAY)
        weir.log.info("strip", { target = target, member = name })
        res, err = send(req, target, learned)
      end
      if res or err.final then return res, err end
      failure = err
    end
    return nil, failure
  end
end
