--- fake.lua -- requests, responses and events without the core, for specs of Lua alone.
---
--- Loading it gives `require "weir.host"` and `require "weir"`, so it comes before what needs
--- them.
local json = require("dkjson")
local fake = {}

local null = newproxy(false) -- a userdata, as in the core
local Secret = { __tostring = function(secret) return "secret from " .. secret.from end }

local Array = { __jsontype = "array" }

--- What the core gives; log collects what was logged.
---@return table
function fake.host()
  local host = { null = null, logged = {}, slept = {} }
  function host.env(name) return fake.secret("env " .. name) end
  function host.file(path) return fake.secret("file " .. path) end
  function host.log(level, event, fields)
    host.logged[#host.logged + 1] = { level = level, event = event, fields = fields }
  end
  function host.metric(...) host.counted = { ... } end
  function host.now() return 1000 end
  function host.time() return 1700000000 end
  function host.sleep(seconds) host.slept[#host.slept + 1] = seconds end
  function host.json_decode(text)
    local value, stop, problem = json.decode(text, 1, null, nil, nil)
    if problem or text:find("%S", stop) then return nil, problem or "trailing bytes" end
    return value
  end
  function host.json_encode(value)
    if type(value) == "function" then return nil, "a function has no JSON" end
    return json.encode(value)
  end
  function host.json_array(list) return setmetatable(list, Array) end
  function host.redact(text) return (text:gsub("sk%-%w+", "[key]")) end
  function host.where() return nil end
  function host.is_outside() return false end
  function host.pairs(value)
    local meta = getmetatable(value)
    if meta and meta.__pairs then return meta.__pairs(value) end
    return pairs(value)
  end
  return host
end

--- A secret, as weir.env and weir.file give it.
function fake.secret(from)
  return setmetatable({ from = from or "env KEY" }, Secret)
end

function fake.is_secret(value)
  return getmetatable(value) == Secret
end

local Event = {}
Event.__index = Event

--- fake.event { kind = "content", text = "Hello" }; what is left out is as in most streams.
function fake.event(event)
  event.kind, event.index = event.kind or "content", event.index or 0
  return setmetatable(event, Event)
end

function Event:copy(text)
  return fake.event { kind = self.kind, index = self.index, text = text, is_copy = true }
end

local Response = {}
Response.__index = Response

--- fake.response { events = { … }, stream = true, status = 200, target = "groq/llama" }
function fake.response(response)
  response.status = response.status or 200
  response.headers = response.headers or {}
  response.events = response.events or {}
  response.filters, response.enders = {}, {}
  return setmetatable(response, Response)
end

function Response:map(filter)
  self.filters[#self.filters + 1] = filter
  return self
end

function Response:on_end(fn)
  self.enders[#self.enders + 1] = fn
  return self
end

--- A filter gives an event, a list of them, or nothing.
local function through(filter, events)
  local out = {}
  for _, event in ipairs(events) do
    local given = filter(event)
    if getmetatable(given) == Event then given = { given } end
    for _, one in ipairs(given or {}) do out[#out + 1] = one end
  end
  return out
end

--- What the client gets: each event goes through all filters before the next one comes.
function Response:play()
  local sent = {}
  for _, event in ipairs(self.events) do
    local events = { event }
    for _, filter in ipairs(self.filters) do events = through(filter, events) end
    for _, one in ipairs(events) do sent[#sent + 1] = one end
  end
  return sent
end

local Request = {}
Request.__index = Request

--- A script names what each provider or target does: a status, a fault's word ("timeout"), or
--- a response. fake.request { groq = 429, openai = 200 }
---@param script table<string, integer|string|table>
---@param members table|nil members of the request: body, model, cooling = { [target] = true }
function fake.request(script, members)
  local req = {
    id = "req_1", endpoint = "chat", model = "default", stream = false, headers = {},
    body = { messages = {} }, trail = {}, sent = {}, slept = {}, cooling = {}, script = script,
  }
  for name, value in pairs(members or {}) do req[name] = value end
  return setmetatable(req, Request)
end

function Request:available(targets)
  local free = {}
  for _, target in ipairs(targets) do
    if not self.cooling[target] then free[#free + 1] = target end
  end
  return free
end

local function fail(req, target, raw)
  raw.target, raw.headers = target, {}
  local err = require("weir.outcome").read(raw)
  req.trail[#req.trail + 1] = { target = target, code = err.code, status = err.status, ms = 1 }
  return nil, err
end

function Request:send(target)
  self.sent[#self.sent + 1] = target
  local answer = self.script[target] or self.script[target:match("^[^/]+")]
  assert(answer, "the script has no answer of " .. target)
  if type(answer) == "table" then return fake.response(answer) end
  if type(answer) == "string" then
    return fail(self, target, { fault = answer, phase = "first" })
  end
  if answer == 200 then return fake.response { target = target, stream = self.stream } end
  return fail(self, target, { status = answer })
end

function Request.reply(_, status, body)
  return fake.response { status = status, body = body, target = "weir" }
end

fake.null = null
fake.shared_host = package.loaded["weir.host"] or fake.host()
package.loaded["weir.host"] = fake.shared_host
package.loaded["weir"] = package.loaded["weir"]
  or require("weir.library").new(fake.shared_host)

return fake
