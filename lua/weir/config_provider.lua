--- config_provider.lua -- checks the "providers" of a configuration, and joins each with the
--- module of its type: the entry that comes out is all that the core and outcome.lua need.
local check = require("weir.check")
local header = require("weir.header")
local quota = require("weir.quota")
local suggest = require("weir.suggest")
local url = require("weir.url")
local config_provider = {}

local MAX_SECONDS = 2147483 -- 2^31 milliseconds, where timers overflow
local MAX_KEYS = 64 -- core/limits/limit.h
local MAX_COUNT = 2147483647
local CLOCK = { kind = "number", above = 0, max = MAX_SECONDS }

local function keep(_, _, value)
  return value
end

--- Requests or tokens, in a minute or a day, and requests at once: of each key.
local LIMIT = { kind = "number", min = 1, max = MAX_COUNT, integer = true }

local SPEC = {
  kind = "members",
  members = {
    type = { kind = "string" },
    key = { kind = "custom", read = keep },
    keys = { kind = "custom", read = keep },
    base_url = { kind = "string" },
    headers = { kind = "custom", read = keep },
    timeout = {
      kind = "members",
      members = { connect = CLOCK, first = CLOCK, idle = CLOCK, total = CLOCK },
    },
    cooldown = { kind = "number", min = 0, max = MAX_SECONDS },
    limits = {
      kind = "members",
      members = { rpm = LIMIT, tpm = LIMIT, rpd = LIMIT, tpd = LIMIT, concurrent = LIMIT },
    },
  },
}

--- Whether value came from weir.env or weir.file; a problem if not.
---@return boolean
function config_provider.check_secret(c, path, value)
  if c.is_secret(value) then return true end
  if type(value) == "string" then
    c:problem(path, 'write the key as weir.env "NAME" or weir.file "PATH"; keys do not belong in '
      .. "the file")
  else
    c:wrong(path, 'a secret: weir.env "NAME" or weir.file "PATH"', value)
  end
  return false
end

local function read_base_url(c, path, text, module)
  if not text then
    if module.base_url then return module.base_url end
    local example = module.base_url_example
    return c:problem(path, "is missing: this type has none of its own",
      example and ("base_url = %q"):format(example))
  end
  local base_url, problem = url.read(text)
  if not base_url then c:problem(path, problem) end
  return base_url
end

--- The module's headers, then the configuration's, which win; sorted by name.
local function read_headers(c, path, value, module)
  local values, names = {}, {}
  for name, text in pairs(module.headers or {}) do values[name:lower()] = text end
  if value ~= nil and (type(value) ~= "table" or c.is_secret(value)) then
    c:wrong(path, "a table of values by name", value)
    value = nil
  end
  for _, name in ipairs(value and check.keys(value) or {}) do
    local at, text = check.join(path, name), value[name]
    local problem = header.name_problem(name)
    if not problem and name:lower() == (module.auth or {}).header then
      problem = "carries the credential: use key"
    elseif not problem and names[name:lower()] then
      problem = "is there twice"
    elseif not problem and type(text) == "string" then
      problem = header.value_problem(text)
    end
    if problem then
      c:problem(at, problem)
    elseif type(text) ~= "string" and not c.is_secret(text) then
      c:wrong(at, "a string or a secret", text)
    else
      names[name:lower()], values[name:lower()] = true, text
    end
  end
  local list = {}
  for _, name in ipairs(check.keys(values)) do
    list[#list + 1] = { name = name, value = values[name] }
  end
  return list
end

--- A list of secrets without a hole.
---@return table[]
function config_provider.read_keys(c, path, value)
  if c.is_secret(value) then c:problem(path, "must be a list", "keys = { … }") return {} end
  if type(value) ~= "table" then c:wrong(path, "a list of secrets", value) return {} end
  local keys = {}
  for _, name in ipairs(check.keys(value)) do
    local at = check.join(path, name)
    if type(name) ~= "number" then
      c:problem(at, "unknown member: keys is a list")
    elseif config_provider.check_secret(c, at, value[name]) then
      keys[#keys + 1] = value[name]
    end
  end
  local highest = table.maxn(value)
  if highest == 0 or highest > #check.keys(value) then
    c:problem(path, "has no value in a place: is the variable set?")
  end
  return keys
end

--- The credentials, of which each attempt takes one: key is short for a list of one.
local function check_keys(c, path, value, module)
  if value.key ~= nil and value.keys ~= nil then
    c:problem(check.join(path, "keys"), "stands beside key: write all of them in keys")
  elseif value.keys ~= nil then
    local keys = config_provider.read_keys(c, check.join(path, "keys"), value.keys)
    if #keys > MAX_KEYS then
      c:problem(check.join(path, "keys"), ("has more than %d keys"):format(MAX_KEYS))
    end
    return keys
  end
  if value.key ~= nil then
    local is_secret = config_provider.check_secret(c, check.join(path, "key"), value.key)
    return { is_secret and value.key or nil }
  end
  local needs = module.needs_key == "always"
    or module.needs_key == "at base_url" and value.base_url == nil
  if needs then
    c:problem(check.join(path, "key"), ("type %q needs a key (if one is written there: is it set?)")
      :format(value.type), 'key = weir.env "NAME"')
  end
  return {}
end

local function find_module(c, path, name, value, tools)
  if type(value.type) ~= "string" then
    local near = value.type == nil and suggest(tostring(name), tools.types)
    if value.type == nil then
      c:problem(check.join(path, "type"), "is missing", near and ("type = %q"):format(near))
    end
    return nil
  end
  local module = tools.provider(value.type)
  if not module then
    c:problem(check.join(path, "type"), ("unknown type; known are %s")
      :format(table.concat(tools.types, ", ")), suggest(value.type, tools.types))
  end
  return module
end

--- A clock is the provider's own, else its type's, else the configuration's.
local function join_timeout(own, module, settings)
  local timeout = {}
  for name, default in pairs(settings.timeout) do
    timeout[name] = own[name] or (module.timeout or {})[name] or default
  end
  return timeout
end

--- The reader of its quotas; a provider's own file may have written them wrong.
local function read_quota_formats(c, path, module)
  local member, message = quota.problem(module.quota_formats)
  if member then c:problem(check.join(path, "type"), ("its %s %s"):format(member, message)) end
  return quota.reader(not member and module.quota_formats or nil)
end

local function read_one(c, path, name, value, settings, tools)
  if type(value) ~= "table" or c.is_secret(value) then return c:wrong(path, "a table", value) end
  local own = c:read(path, SPEC, value)
  local module = find_module(c, path, name, value, tools)
  if not module then return nil end
  local quota_headers, quotas = read_quota_formats(c, path, module)
  return {
    name = name,
    type = value.type,
    keys = check_keys(c, path, value, module),
    limits = own.limits or {},
    base_url = read_base_url(c, check.join(path, "base_url"), own.base_url, module),
    headers = read_headers(c, check.join(path, "headers"), value.headers, module),
    auth = module.auth,
    timeout = join_timeout(own.timeout, module, settings),
    cooldown = own.cooldown or module.cooldown or settings.cooldown,
    drop = module.drop or {},
    done = module.done or "optional",
    include_usage = module.include_usage ~= false,
    reports_cost = module.reports_cost == true,
    classify = module.classify,
    retry_after = module.retry_after,
    ratelimit_headers = settings.ratelimit_headers,
    quota_headers = quota_headers,
    quotas = quotas,
  }
end

--- The entries of settings.providers, sorted by name.
---@return table[]
function config_provider.read(c, value, settings, tools)
  local providers = {}
  if type(value) ~= "table" or c.is_secret(value) then
    c:wrong("providers", "a table of providers by name", value)
    return providers
  end
  for _, name in ipairs(check.keys(value)) do
    local path = check.join("providers", name)
    if type(name) ~= "string" or not name:find("^[%w_.-]+$") then
      c:problem(path, "a provider's name has letters, digits, dots, dashes and underscores only")
    else
      providers[#providers + 1] = read_one(c, path, name, value[name], settings, tools)
    end
  end
  return providers
end

return config_provider
