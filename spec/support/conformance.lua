--- Plays a scenario in the gateway, with the simulator's own scripts over sockets; and all of
--- them in the simulator.

local fake = require("spec.support.fake")
local gateway = require("spec.support.gateway")
local json = require("dkjson")
local libc = require("spec.support.libc")
local process = require("spec.support.process")
local scenarios = require("spec.support.scenarios")
local upstream = require("spec.support.upstream")

--- JSON as the core writes it: members in the order of their names, a bare {} an object.
local function encode(value)
  if type(value) == "userdata" then return "null" end
  if type(value) ~= "table" then return json.encode(value) end
  local is_array, parts = (getmetatable(value) or {}).__jsontype == "array" or #value > 0, {}
  for i = 1, is_array and #value or 0 do parts[i] = encode(value[i]) end
  if is_array then return "[" .. table.concat(parts, ",") .. "]" end
  local names = {}
  for name in pairs(value) do names[#names + 1] = name end
  table.sort(names)
  for i, name in ipairs(names) do parts[i] = json.encode(name) .. ":" .. encode(value[name]) end
  return "{" .. table.concat(parts, ",") .. "}"
end

local host = fake.host()
host.json_encode = encode
package.loaded["weir.host"] = host
local script = require("weir.sim_script")

local conformance = {}
local OPEN, HEAD, BYTES = 0, 1, 2 -- sim_script.lua's kinds; the other one is the end

-- ---- the gateway's world ----

--- Waits until the client has these bytes: a reset may overtake what was sent before it.
local function wait_for(state, bytes)
  local deadline = libc.deadline()
  while not state.received:find(bytes, 1, true) and libc.now() < deadline do
    state.pump()
  end
end

--- A step on the wire.
local function play_step(connection, step, before, state)
  if step.kind == HEAD then
    local framing = "connection: close\r\ntransfer-encoding: chunked\r\n"
    connection:send(("HTTP/1.1 %d Status\r\n%s%s\r\n"):format(step.status, framing,
      (step.bytes:gsub("\n", "\r\n"))))
  elseif step.kind == BYTES then
    if #step.bytes > 0 then connection:send_chunk(step.bytes) end
  elseif step.kind ~= OPEN then
    if step.fault == "reset" then
      local is_said = before.kind == BYTES and not before.bytes:find('"role"', 1, true)
      if is_said then wait_for(state, before.bytes) end
      connection:reset()
      return
    end
    if not step.fault then connection:finish_stream() end
    connection:close()
  end
end

local function serve(up, state)
  local connection = up:accept()
  local request = connection:read_request()
  if not request then return end
  local steps = script.on_ask {
    provider = up.name, path = request.path:gsub("^/v1", ""), text = request.body,
    header_lines = "", target = "?", timeout = {},
  }
  state.sent[#state.sent + 1] = up.name .. " " .. request.body
  for i, step in ipairs(steps) do play_step(connection, step, steps[i - 1], state) end
end

--- Whether what a client leaves has come so far: a provider is silent, or it failed and that is
--- told.
local function is_under_way(gate, scenario, state)
  return #state.sent > 0
    and (scenario[3][1] == "stall" or gate:log():find("event=attempt", 1, true))
end

--- Asks and serves until the client's connection is closed, or the client leaves.
local function ask(gate, ups, body, scenario)
  local client = gate:connect()
  client:request { body = body, headers = { Connection = "close" } }
  local state = { received = "", sent = {} }
  local leaves_at, closed = scenario.leaves and libc.now() + scenario.leaves, false
  function state.pump()
    local bytes, why = client:try_receive(0.002)
    state.received = state.received .. (bytes or "")
    closed = why == "closed" or why == "reset"
  end
  local deadline = libc.deadline()
  while not closed and libc.now() < deadline
    and not (leaves_at and libc.now() >= leaves_at and is_under_way(gate, scenario, state)) do
    state.pump()
    for _, up in ipairs(ups) do
      if up.listener:is_readable() then serve(up, state) end
    end
  end
  client.buffer = state.received
  local response = not leaves_at and client:read_response() or { status = 0, ended = "left" }
  client:close()
  return response, state.sent
end

--- A line of logfmt as a table of texts.
local function read_line(line)
  local fields, at = {}, 1
  while true do
    local name, quote, start = line:match('([%w_]+)=("?)()', at)
    if not name then return fields end
    local text, next_at
    if quote == '"' then
      local stop = start
      while line:sub(stop, stop) ~= '"' do
        stop = stop + (line:sub(stop, stop) == "\\" and 2 or 1)
      end
      text, next_at = line:sub(start, stop - 1):gsub("\\(.)", "%1"), stop + 1
    else
      text = line:match("^%S*", start)
      next_at = start + #text
    end
    fields[name], at = text, next_at
  end
end

--- The request's lines of the log, once the last of them is there.
local function wait_log(gate, count)
  return gate.process:wait_for("err", function(text)
    local lines, ends = {}, 0
    for line in text:gmatch("([^\n]*)\n") do
      lines[#lines + 1] = read_line(line)
      if lines[#lines].event == "request" then ends = ends + 1 end
    end
    return ends >= count and lines or nil
  end, count .. " requests in the log")
end

local function real_seen(response, sent)
  local ended = response.ended == "complete" and "complete" or response.ended == "left" and "left"
    or "cut"
  return { status = response.status, body = response.body or "", ended = ended, sent = sent,
    retry_after = response.headers and response.headers["retry-after"],
    target = response.headers and response.headers["x-weir-target"],
    attempts = response.headers and response.headers["x-weir-attempts"],
    content_type = response.headers and response.headers["content-type"] }
end

--- What the gateway makes of a scenario, and the seconds that it took.
local function play_once(scenario, stream)
  script.reset()
  local ups, urls, seen = {}, {}, {}
  for i, name in ipairs { "first", "second", "gone" } do
    local up = upstream.new()
    up.name, urls[name] = name, up.url
    if name == "gone" then up:refuse() else ups[#ups + 1] = up end
    if scenario[i + 2] and #scenario[i + 2] > 0 then
      script.provider(name):answers(unpack(scenario[i + 2]))
    end
  end
  local gate = gateway.start(scenarios.config(function(name) return urls[name] end, scenario))
  local began = libc.now()
  local ok, why = pcall(function()
    for i = 1, scenario.requests or 1 do
      seen[i] = real_seen(ask(gate, ups, scenarios.body(scenario, stream), scenario))
    end
    seen.log = wait_log(gate, #seen)
  end)
  local took = libc.now() - began
  for _, up in ipairs(ups) do up:close() end
  if ok then ok, why = pcall(gate.stop, gate) end
  gate:discard()
  if not ok then error(why, 0) end
  return seen, took
end

--- What the gateway makes of a scenario. In the simulator no time passes from one request to the
--- next, and what remains of a cooldown is told in whole seconds: where the machine is so busy that
--- one passes, all of it is played again.
function conformance.play(scenario, stream)
  local seen, took
  for _ = 1, 10 do
    seen, took = play_once(scenario, stream)
    if took < 1 or not scenario.requests then break end
  end
  return seen
end

-- ---- the simulator's world ----

local SPEC = [[
local sim = require("weir.sim")
local weir = require("weir")
local scenarios = dofile("%s/spec/support/scenarios.lua")
scenarios.each(function(name, scenario, stream)
  it(name, function()
    sim.config()
    for i, provider in ipairs { "first", "second" } do
      local answers = scenario[i + 2]
      if answers and #answers > 0 then sim.provider(provider):answers(unpack(answers)) end
    end
    sim.provider("gone"):answers("refused")
    local seen = { log = {} }
    for i = 1, scenario.requests or 1 do
      local asked = #sim.asked()
      local result = sim.request {
        body = scenarios.body(scenario, stream), leaves = scenario.leaves,
      }
      local sent = weir.json.array {}
      for at = asked + 1, #sim.asked() do
        local call = sim.asked()[at]
        if call.provider ~= "gone" then sent[#sent + 1] = call.provider .. " " .. call.text end
      end
      seen[i] = { status = result.status, body = result.body, ended = result.ended, sent = sent,
        retry_after = result.headers["retry-after"], target = result.headers["x-weir-target"],
        attempts = result.headers["x-weir-attempts"],
        content_type = result.headers["content-type"] }
      for _, line in ipairs(sim.log()) do table.insert(seen.log, line) end
    end
    local log = seen.log
    seen.log = nil
    print(weir.json.encode { name = name, seen = seen, log = log })
  end)
end)
]]

--- What the simulator makes of all scenarios, by name.
function conformance.simulate()
  local here = require("lfs").currentdir()
  local folder = gateway.folder {
    ["weir.lua"] = scenarios.config(function() return "http://127.0.0.1:1/v1" end),
    ["play_spec.lua"] = SPEC:format(here),
  }
  local child = process.start(gateway.command("test", folder))
  local status = child:wait(60)
  gateway.remove_folder(folder)
  assert(status == 0, child.text.out .. child.text.err)
  local found = {}
  for line in child.text.out:gmatch("({[^\n]*})\n") do
    local one = json.decode(line)
    one.seen.log = one.log
    found[one.name] = one.seen
  end
  return found
end

-- ---- what is compared ----

local KEPT = { "event", "target", "outcome", "status", "message", "code", "says", "attempts",
  "stream", "model", "key", "reason", "seconds", "tokens", "completion_tokens", "alarm" }

--- What of a log must be the same: no times and no ids.
local function lines_of(log)
  local lines = {}
  for _, line in ipairs(log) do
    local is_request = line.event == "attempt" or line.event == "request"
      or line.event == "cooldown" or line.event == "policy"
    if is_request then
      local kept = {}
      for _, name in ipairs(KEPT) do
        kept[name] = line[name] ~= nil and tostring(line[name]) or nil
      end
      if kept.code ~= "ok" then kept.completion_tokens = nil end -- as far as it was read
      lines[#lines + 1] = kept
    end
  end
  return lines
end

--- Texts that name the time, an id or a request's own number.
local function plain_body(body)
  return (body:gsub('"created":%d+', '"created":0'):gsub('"id":"[^"]*"', '"id":""')
    :gsub('"ms":%d+', '"ms":0'))
end

--- Both worlds' findings, in one shape.
function conformance.comparable(seen)
  local list = { log = lines_of(seen.log) }
  for i, one in ipairs(seen) do
    one.body = plain_body(one.body)
    list[i] = one
  end
  return list
end

return conformance
