--- config.lua -- checks what weir.lua returned and fills in every default.
---
--- The specification below is the list of all members; providers have theirs in
--- config_provider.lua. What it gives back are plain tables, which C walks.
local address = require("weir.address")
local check = require("weir.check")
local config_admin = require("weir.config_admin")
local config_ledger = require("weir.config_ledger")
local config_provider = require("weir.config_provider")
local fetch = require("weir.fetch")
local config = {}

local MiB = 1024 * 1024
local MAX_BYTES = 2147483647
local MAX_SECONDS = 2147483 -- 2^31 milliseconds, where timers overflow

local function seconds(default)
  return { kind = "number", default = default, min = 0, max = MAX_SECONDS }
end

--- A timeout of 0 would mean "never" to one reader and "at once" to another.
local function timeout(default)
  return { kind = "number", default = default, above = 0, max = MAX_SECONDS }
end

local function bytes(default, min)
  return { kind = "number", default = default, min = min, max = MAX_BYTES, integer = true }
end

local function count(default, min, max)
  return { kind = "number", default = default, min = min, max = max, integer = true }
end

local dollars = { kind = "number", min = 0, max = 1000000 } -- a million tokens

local function choice(default, ...)
  return { kind = "choice", default = default, of = { default, ... } }
end

--- A file of the operator's; a secret would hide where it is, and the watch reads it by its name.
local function file_path(what)
  return { kind = "custom", read = function(c, path, value)
    if type(value) ~= "string" then
      return c:wrong(path, ('the path of a file, like "%s"'):format(what), value)
    end
    return c:read_string(path, {}, value)
  end }
end

local TLS = {
  kind = "members",
  members = { cert = file_path("tls/cert.pem"), key = file_path("tls/key.pem") },
}

--- Both files, or neither.
local function read_tls(c, path, value)
  if type(value) == "table" and not c.is_secret(value) and next(value) == nil then return nil end
  local tls = c:read(path, TLS, value)
  if type(value) == "table" and not c.is_secret(value) then
    for _, name in ipairs { "cert", "key" } do
      if value[name] == nil then
        c:problem(check.join(path, name), "is missing: TLS needs a certificate and its key",
          'tls = { cert = "tls/cert.pem", key = "tls/key.pem" }')
      end
    end
  end
  return tls.cert and tls.key and tls or nil
end

local function read_keys(c, path, value)
  if value == "ledger" then return value end
  if type(value) == "string" then
    c:problem(path, 'must be a list of secrets, or "ledger"', 'keys = "ledger"')
    return {}
  end
  return config_provider.read_keys(c, path, value)
end

--- Dollars a million tokens, by "provider/model" or model.
local function read_prices(c, path, value)
  if type(value) ~= "table" or c.is_secret(value) then
    return c:wrong(path, 'a table like { ["laptop/llama3.2"] = { input = 0, output = 0 } }', value)
  end
  local entry = { kind = "members", members = {
    input = dollars, output = dollars, cached = dollars, reasoning = dollars,
  } }
  local prices = {}
  for _, name in ipairs(check.keys(value)) do
    local at = check.join(path, name)
    prices[name] = c:read(at, entry, value[name])
    if type(value[name]) == "table" and (value[name].input == nil or value[name].output == nil) then
      c:problem(at, "needs input and output: dollars a million tokens")
    end
  end
  return prices
end

--- The policies' own specs: a file, or a folder of *_spec.lua, seen from weir.lua's folder.
local function read_spec_path(c, path, value)
  if type(value) ~= "string" then
    return c:wrong(path, 'a string like "spec", the folder of the policies\' specs', value)
  end
  return c:read_string(path, {}, value)
end

--- What weir.fetch may ask: a list of servers.
local function read_fetch(c, path, value)
  if type(value) ~= "table" or c.is_secret(value) then
    return c:wrong(path, 'a list like { "https://hooks.example" }', value)
  end
  local hosts = {}
  for _, name in ipairs(check.keys(value)) do
    local at = check.join(path, name)
    local host, problem
    if type(name) ~= "number" then
      problem = "unknown member: fetch is a list"
    else
      host, problem = fetch.read_host(value[name])
    end
    if problem then c:problem(at, problem) end
    hosts[#hosts + 1] = host
  end
  return hosts
end

local CANARY = {
  kind = "members",
  members = {
    share = { kind = "number", above = 0, max = 1 },
    header = { kind = "custom", read = function(c, path, value)
      if type(value) ~= "string" then return c:wrong(path, 'a string like "x-canary"', value) end
      if not value:find("^[%w-]+$") then return c:problem(path, "must be the name of a header") end
      return value:lower()
    end },
    keys = { kind = "custom", read = function(c, path, value)
      if type(value) ~= "table" or c.is_secret(value) then
        return c:wrong(path, 'a list of names of keys, like { "WEIR_KEY_ANN" }', value)
      end
      for _, name in ipairs(check.keys(value)) do
        c:read_string(check.join(path, name), {}, value[name])
      end
      return value
    end },
    requests = count(100, 1, 1000000),
    time = seconds(60),
  },
}

--- Who is served by a new version first. Nothing said is no canary.
local function read_canary(c, path, value)
  if type(value) == "table" and next(value) == nil then return nil end
  local canary = c:read(path, CANARY, value)
  if type(value) == "table" and not (value.share or value.header or value.keys) then
    c:problem(path, "says nobody: set share, header or keys", "canary = { share = 0.05 }")
  end
  return canary
end

--- A name of no key would be nobody's.
local function check_canary_keys(c, settings)
  if settings.keys == "ledger" then return end -- which names there are, only the ledger knows
  local names = settings.policy.canary and settings.policy.canary.keys or {}
  for i, name in ipairs(names) do
    local is_known = false
    for _, key in ipairs(settings.keys or {}) do
      is_known = is_known or tostring(key):find('"' .. name .. '"', 1, true) ~= nil
    end
    if not is_known then
      c:problem(("policy.canary.keys[%d]"):format(i), ("none of keys is called %q"):format(name))
    end
  end
end

local timeouts = {
  kind = "members",
  members = { connect = timeout(5), first = timeout(60), idle = timeout(30), total = timeout(600) },
}

local SPEC = {
  kind = "members",
  members = {
    listen = {
      kind = "custom",
      read = address.read,
      default = { host = "127.0.0.1", port = 4000 },
    },
    tls = { kind = "custom", read = read_tls },
    workers = count(0, 0, 1024), -- 0: one a core
    drain = seconds(600),
    keys = { kind = "custom", read = read_keys },
    timeout = timeouts,
    cooldown = seconds(60),
    limits = {
      kind = "members",
      members = {
        body = bytes(16 * MiB, 1),
        headers = bytes(32 * 1024, 1024),
        connections = count(10000, 1, 1000000),
        in_flight = count(4096, 1, 1000000),
        head_time = timeout(10),
        body_time = timeout(60),
        idle_time = timeout(75),
        stuck_time = timeout(30),
      },
    },
    policy = {
      kind = "members",
      members = {
        on_error = choice("closed", "open"),
        burst = { kind = "number", default = 0.05, above = 0, max = 60 },
        memory = bytes(32 * MiB, MiB),
        jit = {
          kind = "custom",
          default = false,
          read = function(c, path, value)
            if value == true then
              return c:problem(path, "is not supported: compiled code does not look at the "
                .. "clock, so a policy that runs away could not be stopped")
            end
            return c:read_boolean(path, { default = false }, value)
          end,
        },
        check = { kind = "custom", read = read_spec_path },
        check_time = timeout(60),
        canary = { kind = "custom", read = read_canary },
        fetch = { kind = "custom", read = read_fetch, default = {} },
      },
    },
    ratelimit_headers = choice("synthesize", "forward", "strip"),
    log = {
      kind = "members",
      members = {
        level = choice("info", "debug", "warn", "error"),
        format = choice("logfmt", "json"),
        file = { kind = "string" },
      },
    },
    reload = { kind = "members", members = { watch = { kind = "boolean", default = true } } },
    data = { kind = "string", default = "./data" },
    prices = { kind = "custom", read = read_prices },
    ledger = config_ledger.SPEC,
    admin = { kind = "custom", read = config_admin.read },
    providers = { kind = "custom", read = function(_, _, value) return value end },
    models = { kind = "custom", read = function(_, _, value) return value end },
  },
}

--- What a policy was meant to be, where a target or a list of them stands.
local function policy_hint(value)
  if type(value) == "string" then return ("waterfall { %q }"):format(value) end
  if type(value) == "table" then return "waterfall { … }" end
end

local function read_models(c, value)
  local models, fallback = {}, nil
  if type(value) ~= "table" or c.is_secret(value) then
    c:wrong("models", "a table of policies by name", value)
    return models, nil
  end
  for _, name in ipairs(check.keys(value)) do
    local path, policy = check.join("models", name), value[name]
    if type(name) ~= "string" or name == "" or name:find("%c") then
      c:problem(path, 'must have a name: default = waterfall { … }')
    elseif type(policy) ~= "function" then
      c:wrong(path, "a policy (a function)", policy, policy_hint(policy))
    elseif name == "*" then
      fallback = policy
    else
      models[#models + 1] = { name = name, policy = policy }
    end
  end
  if next(value) == nil then c:problem("models", "names no model") end
  return models, fallback
end

--- Settings with every default, and the list of problems, which is empty when all is well.
--- tools: is_secret(value), provider(type) -> module or nil, types -> list of known types,
--- zone(name) -> whether that time zone is there, else where they are and which there are.
---@param raw any
---@param tools { is_secret: fun(value: any): boolean, provider: fun(type: string): table|nil,
---               types: string[], zone: fun(name: string): boolean, string, string[] }
---@return table settings, { path: string, message: string, suggestion: string|nil }[] problems
function config.check(raw, tools)
  local c = check.new(tools.is_secret)
  c.zone = tools.zone
  if type(raw) ~= "table" or c.is_secret(raw) then
    c:problem("weir.lua", ("must return a table, not %s"):format(check.describe(raw)))
    raw = { providers = {}, models = {} }
  end
  local settings = c:read("", SPEC, raw)
  settings.listen = { host = settings.listen.host, port = settings.listen.port }
  settings.admin = settings.admin or config_admin.read(c, "admin", {})
  if raw.keys == nil and not address.is_loopback(settings.listen.host) then
    c:problem("listen", "without keys the gateway listens on loopback only: set keys, or listen on "
      .. '"127.0.0.1:PORT"')
  end
  check_canary_keys(c, settings)
  if settings.ledger.store and settings.keys ~= "ledger" then
    c:problem("ledger.store", "is for keys of a ledger, which choose it", 'keys = "ledger"')
  end
  if settings.ledger.webhook and settings.keys ~= "ledger" then
    c:problem("ledger.webhook", "is told of budgets, which a ledger's keys have", 'keys = "ledger"')
  end
  settings.providers = config_provider.read(c, raw.providers, settings, tools)
  settings.models, settings.fallback = read_models(c, raw.models)
  return settings, c.problems
end

return config
