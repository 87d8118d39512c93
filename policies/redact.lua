--- redact.lua -- keeps e-mail addresses and keys out of prompts and answers.
local scan = require("weir.scan")
local secrets = require("weir.secrets")
local weir = require("weir")

--- Members of a request that hold what people wrote, and the texts within them.
local SPOKEN = { "messages", "prompt", "input", "instructions", "system" }
local TEXTS = { content = true, text = true, input = true, output = true, arguments = true }

local function clean(node, find)
  for name, value in pairs(node) do
    if type(value) == "table" then
      clean(value, find)
    elseif type(value) == "string" and (TEXTS[name] or type(name) == "number") then
      local cleaned = scan.replace(value, find)
      if cleaned ~= value then node[name] = cleaned end
    end
  end
end

local function clean_member(body, name, find)
  local value = body[name]
  if type(value) == "table" then return clean(value, find) end
  local cleaned = type(value) == "string" and scan.replace(value, find) or value
  if cleaned ~= value then body[name] = cleaned end
end

--- A plain answer is whole: nothing has to wait. What is for a tool stays as it is, for the tool
--- needs it.
local function clean_answer(event, find)
  if event.kind == "tool_call" then return event end
  local cleaned = event.text and scan.replace(event.text, find)
  if cleaned ~= event.text then event.text = cleaned end
  return event
end

--- redact(policy) or redact(policy, { patterns = { "ACME%-%d+" }, window = 256 })
---@param policy weir.Policy
---@param opts { patterns?: string[], window?: integer }|nil patterns: Lua patterns of your own;
---  window: bytes that the longest of their places has
---@return weir.Policy
return function(policy, opts)
  if type(policy) ~= "function" then error("redact: argument 1 must be a policy", 2) end
  local rules = secrets.rules(opts and opts.patterns or {})
  local size = opts and opts.window or secrets.SIZE
  local words = not (opts and opts.patterns) and secrets.WORDS or nil

  return function(req)
    local find = scan.new(rules)
    for _, name in ipairs(SPOKEN) do clean_member(req.body, name, find) end
    local res, err = policy(req)
    if not res then return nil, err end
    if not res.stream then return res:map(function(event) return clean_answer(event, find) end) end
    local window = weir.window(size, words)
    return res:map(function(event) return window:map(event, find) end)
  end
end
