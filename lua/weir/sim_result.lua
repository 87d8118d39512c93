--- sim_result.lua -- what came of a simulated request: what the client saw, and the trail that
--- the gateway logged.
local host = require("weir.host")
local sim_result = {}

--- Its members: lua/meta/sim.lua.
local Result = {}

function Result.headers(result)
  local headers = {}
  for name, value in result.header_lines:gmatch("([^\r\n:]+): ([^\r\n]*)\r\n") do
    headers[name:lower()] = value
  end
  return headers
end

function Result.events(result)
  local events = {}
  if not (result.headers["content-type"] or ""):find("event-stream", 1, true) then return events end
  for block in result.body:gmatch("(.-)\r?\n\r?\n") do
    local data = block:match("data: ?([^\r\n]*)")
    if data then
      local value = host.json_decode(data)
      events[#events + 1] = value == nil and data or value
    end
  end
  return events
end

function Result.json(result)
  return (host.json_decode(result.body)) -- nothing more: why it is none is the reader's guess
end

local function choice_text(message, name)
  local choices = type(message) == "table" and message.choices
  local choice = type(choices) == "table" and choices[1]
  if type(choice) ~= "table" then return "" end
  local said = choice.message or choice.delta or { content = choice.text }
  return type(said[name]) == "string" and said[name] or ""
end

local function joined(result, name)
  local parts = { choice_text(result.json, name) }
  for _, event in ipairs(result.events) do parts[#parts + 1] = choice_text(event, name) end
  return table.concat(parts)
end

function Result.text(result) return joined(result, "content") end

function Result.reasoning(result) return joined(result, "reasoning") end

Result["error"] = function(result)
  local found = type(result.json) == "table" and result.json.error or nil
  for _, event in ipairs(result.events) do
    found = type(event) == "table" and event.error or found
  end
  return found
end

--- Most specs look at one or two members: the others are not made.
local meta = { __index = function(result, name)
  local value = Result[name] and Result[name](result)
  rawset(result, name, value)
  return value
end }

local function add_line(result, line)
  result.log[#result.log + 1] = line
  if line.event == "attempt" and line.outcome ~= "broken" then
    result.targets[#result.targets + 1] = line.target
    result.trail[#result.trail + 1] = {
      target = line.target, code = line.outcome, status = line.status, message = line.message,
    }
  elseif line.event == "request" then
    result.code, result.target = line.code, line.target
  end
end

--- Makes results of what the core gave for each request, and of its log.
---@param seen table[]
---@param lines table[]
---@return weir.sim.Result[]
function sim_result.make(seen, lines)
  local by_id = {}
  for _, result in ipairs(seen) do
    result.trail, result.targets, result.log = {}, {}, {}
    by_id[result.id] = setmetatable(result, meta)
  end
  for _, line in ipairs(lines) do
    if by_id[line.id] then add_line(by_id[line.id], line) end
  end
  return seen
end

--- The lines of a log, decoded.
---@param text string
---@return table[]
function sim_result.lines(text)
  local lines = {}
  for line in text:gmatch("[^\n]+") do lines[#lines + 1] = host.json_decode(line) end
  return lines
end

return sim_result
