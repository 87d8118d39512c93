--- route.lua -- the first rule that a request meets says who serves it.
local waterfall = require("policies.waterfall")

local function has_image(node)
  if type(node) ~= "table" then return false end
  if node.type == "image_url" or node.type == "input_image" then return true end
  for _, value in pairs(node) do
    if has_image(value) then return true end
  end
  return false
end

local function size_of(node) -- bytes of all texts
  local size = type(node) == "string" and #node or 0
  for _, value in pairs(type(node) == "table" and node or {}) do size = size + size_of(value) end
  return size
end

local function spoken(body)
  return body.messages or body.prompt or body.input
end

local CONDITIONS = { -- each: (what the rule wants, req) -> whether the request meets it
  above = function(bytes, req) return size_of(spoken(req.body)) > bytes end,
  tools = function(wanted, req) return (type(req.body.tools) == "table") == wanted end,
  images = function(wanted, req) return has_image(spoken(req.body)) == wanted end,
  stream = function(wanted, req) return req.stream == wanted end,
  key = function(name, req) return req.key ~= nil and req.key.name == name end,
  when = function(test, req) return test(req) end,
}

local function meets(rule, req)
  for name, wanted in pairs(rule) do
    if name ~= "to" and not CONDITIONS[name](wanted, req) then return false end
  end
  return true
end

--- route { { images = true, to = vision }, { above = 20000, to = long }, { to = short } }
---@param rules table[] each with to, a policy or a list of targets, and conditions: above (bytes),
---  tools, images, stream (true or false), key (its name), when (a function of the request)
---@return weir.Policy
return function(rules)
  for i, rule in ipairs(rules) do
    if type(rule.to) == "table" then rule.to = waterfall(rule.to) end
    if type(rule.to) ~= "function" then error(("route: rule %d goes nowhere"):format(i), 2) end
    for name in pairs(rule) do
      if name ~= "to" and not CONDITIONS[name] then
        error(("route: rule %d has a condition '%s' that is not known"):format(i, name), 2)
      end
    end
  end

  return function(req)
    for _, rule in ipairs(rules) do
      if meets(rule, req) then return rule.to(req) end
    end
    return req:reply(404, "no rule of the gateway serves such a request")
  end
end
