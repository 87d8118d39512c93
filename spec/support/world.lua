--- All that one flow spec has running: scripted providers, mocks, the gateway, and clients.
--
--     local w = world.new()
--     local first, second = w:upstream("first"), w:upstream("second")
--     local gateway = w:gateway()   -- default = waterfall over both, in order
--     …
--     w:close()                     -- in after_each: ends everything, holds the gateway to it

local gateway = require("spec.support.gateway")
local process = require("spec.support.process")
local upstream = require("spec.support.upstream")

local World = {}
World.__index = World

local world = {}

function world.new()
  return setmetatable({ upstreams = {}, gateways = {}, processes = {} }, World)
end

--- A scripted provider with a name of its own in weir.lua.
function World:upstream(name)
  local up = upstream.new()
  up.name = name
  self.upstreams[#self.upstreams + 1] = up
  return up
end

--- A `weir mock` with these arguments; it has name and url, as a scripted provider has.
function World:mock(name, ...)
  local mock = process.start(gateway.command("mock", "--listen", "127.0.0.1:0", ...))
  self.processes[#self.processes + 1] = mock
  local port = mock:wait_for("out", function(text)
    return tonumber(text:match("listening on 127%.0%.0%.1:(%d+)"))
  end, "the mock to listen")
  local up = { name = name, port = port, url = ("http://127.0.0.1:%d/v1"):format(port),
    process = mock, close = function() end }
  self.upstreams[#self.upstreams + 1] = up
  return up
end

--- The weir.lua of this world.
---@param options { before: string?, more: string?, models: string?, provider: table?,
---  providers: string? }
---  before: Lua above the table; more: further members; models: instead of the waterfall over
---  all; provider: by name, further members of that provider, or "*" for every one; providers:
---  more of them, as Lua
function World:config(options)
  local providers, targets = {}, {}
  for _, up in ipairs(self.upstreams) do
    local own = options.provider or {}
    providers[#providers + 1] = ('    %s = { type = "openai", base_url = "%s", %s },'):format(
      up.name, up.url, own[up.name] or own["*"] or ('key = weir.env "KEY"'))
    targets[#targets + 1] = ('"%s/%s-model"'):format(up.name, up.name)
  end
  return table.concat({
    'local weir = require "weir"',
    'local waterfall = require "policies.waterfall"',
    options.before or "",
    "return {",
    '  listen = "127.0.0.1:0",',
    options.more or "  workers = 1,",
    "  providers = {",
    table.concat(providers, "\n"),
    options.providers or "",
    "  },",
    "  models = {",
    options.models or ("    default = waterfall { " .. table.concat(targets, ", ") .. " },"),
    "  },",
    "}",
    "",
  }, "\n")
end

--- Starts the gateway in front of what there is.
---@param options table? as for config, and env, files and under as for gateway.start
function World:gateway(options)
  options = options or {}
  local env = { KEY = "provider-key" }
  for name, value in pairs(options.env or {}) do
    env[name] = value
  end
  local started = gateway.start(options.config or self:config(options),
    { env = env, files = options.files, under = options.under })
  self.gateways[#self.gateways + 1] = started
  return started
end

--- Ends all of it.  Raises when a gateway does not end well.
function World:close()
  local failure
  for _, up in ipairs(self.upstreams) do
    up:close()
  end
  for _, one in ipairs(self.gateways) do
    local ended, why = pcall(one.stop, one)
    failure = failure or not ended and why
    one:discard()
  end
  for _, one in ipairs(self.processes) do
    one:kill()
  end
  if failure then error(failure, 0) end
end

return world
