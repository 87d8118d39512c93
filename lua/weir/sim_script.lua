--- sim_script.lua -- scripted providers: what each is to answer, and what it was asked.
---
--- A script becomes steps, which sim/sim_upstream.c plays: the connection opens, the head
--- comes, bytes come, it ends; each so many seconds after the one before. What is left out never
--- comes.
local fetch = require("weir.fetch")
local host = require("weir.host")
local sim_answer = require("weir.sim_answer")
local sim_script = { providers = {}, hosts = {}, asked = {} }

local OPEN, HEAD, BYTES, END = 0, 1, 2, 3 -- sim/sim_upstream.h, enum sim_step_kind
local ENDPOINTS = {
  ["/chat/completions"] = "chat", ["/completions"] = "completions",
  ["/embeddings"] = "embeddings",
}
local JSON, STREAM = "application/json", "text/event-stream"
local DEFAULT = { what = 200 }

--- What can be said, for the message about what cannot.
local WORDS = 'a status, "stream", "json", "raw", "error", "html", "empty", "stall", "refused", '
  .. '"reset", "truncated", "dns", "tls", "unreachable" or a function'

local function header_lines(answer, kind)
  local lines = { "content-type: " .. kind }
  if answer.retry_after then lines[2] = ("retry-after: %s"):format(answer.retry_after) end
  for name, value in pairs(answer.headers or {}) do
    lines[#lines + 1] = ("%s: %s"):format(name:lower(), value)
  end
  return table.concat(lines, "\n") .. "\n"
end

local function opened(answer)
  return { { kind = OPEN, after = answer.connect } }
end

local function add_head(steps, answer, status, kind)
  steps[#steps + 1] = {
    kind = HEAD, after = answer.latency, status = status, bytes = header_lines(answer, kind),
  }
end

--- interval: seconds before each of the pieces.
local function add_bytes(steps, list, most, interval)
  for i = 1, math.min(#list, most or #list) do
    steps[#steps + 1] = { kind = BYTES, after = interval, bytes = list[i] }
  end
end

local function finish(steps, fault)
  steps[#steps + 1] = { kind = END, fault = fault, is_connected = true }
  return steps
end

local function whole(answer, status, kind, ...)
  local steps = opened(answer)
  add_head(steps, answer, status, kind)
  add_bytes(steps, { ... }, nil, answer.interval)
  return finish(steps)
end

local function streamed(answer, call)
  local steps, head, said, tail = opened(answer), sim_answer.stream(answer, call)
  add_head(steps, answer, 200, STREAM)
  add_bytes(steps, head)
  add_bytes(steps, said, nil, answer.interval)
  add_bytes(steps, tail)
  return finish(steps)
end

--- An answer that goes well, up to its fault: after so many pieces of a stream, or in the middle
--- of a plain body.
local function begun(answer, call)
  local steps = opened(answer)
  if call.stream then
    local head, said = sim_answer.stream(answer, call)
    add_head(steps, answer, 200, STREAM)
    add_bytes(steps, head)
    add_bytes(steps, said, answer.after == "head" and 0 or answer.after, answer.interval)
  else
    local body = sim_answer.plain(answer, call)
    add_head(steps, answer, 200, JSON)
    if answer.after ~= "head" then add_bytes(steps, { body:sub(1, #body / 2) }) end
  end
  return steps
end

local function unconnected(answer)
  return { { kind = END, after = answer.connect, fault = answer.what } }
end

local makers = { refused = unconnected, dns = unconnected, tls = unconnected }

function makers.unreachable() return {} end

function makers.stall(answer, call)
  return answer.after and begun(answer, call) or opened(answer)
end

function makers.reset(answer, call)
  if answer.after then return finish(begun(answer, call), "reset") end
  local steps = finish(opened(answer), "reset")
  steps[#steps].after = answer.latency
  return steps
end

function makers.truncated(answer, call)
  answer.after = answer.after or 1
  return finish(begun(answer, call), "truncated")
end

--- An error inside a 200: an event of a stream, or the whole of a plain answer.
makers["error"] = function(answer, call)
  local body = sim_answer.error(answer)
  if not call.stream then return whole(answer, 200, JSON, body) end
  answer.after = answer.after or 0
  local steps = begun(answer, call)
  add_bytes(steps, { "data: " .. body .. "\n\n" })
  return finish(steps)
end

makers.stream = streamed

function makers.json(answer)
  local body = answer.body
  return whole(answer, 200, JSON, type(body) == "table" and host.json_encode(body) or body)
end

function makers.raw(answer)
  return whole(answer, answer.status or 200, answer.content_type or STREAM, unpack(answer.body))
end

function makers.html(answer)
  return whole(answer, answer.status or 200, "text/html", "<html><body>busy</body></html>")
end

function makers.empty(answer, call)
  if not call.stream then return whole(answer, 200, JSON) end
  return whole(answer, 200, STREAM, "data: [DONE]\n\n")
end

local function by_status(answer, call)
  local status = answer.what
  if status == 200 and call.stream then return streamed(answer, call) end
  if status == 200 then return whole(answer, 200, JSON, sim_answer.plain(answer, call)) end
  local body = answer.body or sim_answer.error(answer, "the simulated status " .. status)
  if type(body) == "table" then body = host.json_encode(body) end
  return whole(answer, status, JSON, body)
end

-- ---- providers ----

--- Its members: lua/meta/sim.lua.
local Provider = {}
Provider.__index = Provider

--- An answer as makers want it: what was said last are its options, what stands before its body.
local function read_answer(what, body, options)
  if options == nil and type(body) == "table" and body[1] == nil and what ~= "json" then
    body, options = nil, body
  end
  local answer = {}
  for name, value in pairs(options or {}) do answer[name] = value end
  answer.what = what
  local member = what == "stream" and "text" or "body"
  answer[member] = body or answer[member]
  return answer
end

local function check(what)
  if type(what) == "number" or type(what) == "function" or makers[what] then return end
  error(("a provider answers %s, not %s"):format(WORDS, tostring(what)), 3)
end

--- The answer to the next request; the last one stays. See docs/testing.md.
---@param what integer|string|fun(call: table): any
---@return weir.sim.Provider
function Provider:answers(what, body, options)
  check(what)
  self.script[#self.script + 1] = read_answer(what, body, options)
  return self
end

local function next_answer(provider, call)
  local answer = provider.script[math.min(#provider.asked, #provider.script)] or DEFAULT
  if type(answer.what) ~= "function" then return answer end
  local what, body, options = answer.what(call)
  check(what)
  return read_answer(what, body, options)
end

---@param options table|nil of its entry in a weir.lua
---@return weir.sim.Provider
function sim_script.provider(name, options)
  local provider = sim_script.providers[name]
  if not provider then
    provider = setmetatable({ name = name, script = {}, asked = {}, options = {} }, Provider)
    sim_script.providers[name] = provider
  end
  provider.options = options or provider.options
  return provider
end

--- A server that weir.fetch asks, and its answers: a status and a body, or a word.
---@param url string like "https://hooks.example"
---@return weir.sim.Provider
function sim_script.host(url)
  local read, problem = fetch.read_host(url)
  if not read then error("sim.host: " .. url .. " " .. problem, 2) end
  local server = sim_script.hosts[read.base]
  if not server then
    server = setmetatable({ name = read.base, script = {}, asked = {} }, Provider)
    sim_script.hosts[read.base] = server
  end
  return server
end

function sim_script.reset()
  sim_script.providers, sim_script.hosts, sim_script.asked = {}, {}, {}
end

local function complete(call)
  call.body = host.json_decode(call.text)
  call.at, call.headers = host.now(), {}
  for name, value in call.header_lines:gmatch("([^\n:]+): ([^\n]*)\n") do
    call.headers[name:lower()] = value
  end
  if call.base then return end
  call.model, call.stream = call.body.model, call.body.stream == true
  call.endpoint = ENDPOINTS[call.path]
end

--- Nobody listens where nothing was scripted.
local function on_fetch(call)
  local server = sim_script.hosts[call.base]
  complete(call)
  if not server then return unconnected { what = "refused" } end
  server.asked[#server.asked + 1] = call
  local answer = next_answer(server, call)
  if type(answer.what) ~= "number" then return makers[answer.what](answer, call) end
  local body = answer.body or ""
  if type(body) == "table" then body = host.json_encode(body) end
  return whole(answer, answer.what, answer.content_type or JSON, body)
end

--- Called by sim/lua_sim.c when a request leaves; gives the steps of its answer.
function sim_script.on_ask(call)
  if call.base then return on_fetch(call) end
  local provider = sim_script.provider(call.provider)
  complete(call)
  provider.asked[#provider.asked + 1] = call
  sim_script.asked[#sim_script.asked + 1] = call
  local given, answer = next_answer(provider, call), {}
  for name, value in pairs(given) do answer[name] = value end
  if not answer.text then answer.text = "Hello from " .. call.provider end
  return (makers[answer.what] or by_status)(answer, call)
end

return sim_script
