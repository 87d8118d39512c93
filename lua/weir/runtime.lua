--- runtime.lua -- what the core calls in a generation's Lua state: loading weir.lua, judging
--- failures, wording the last answer.
local failure = require("weir.failure")
local filters = require("weir.filters")
local host = require("weir.host")
local library = require("weir.library")
local outcome = require("weir.outcome")
local ratelimit = require("weir.ratelimit")
local reply = require("weir.reply")
local sandbox = require("weir.sandbox")
local show = require("weir.show")
local extend = require("weir.provider").extend
local suggest = require("weir.suggest")
local targets = require("weir.targets")
local runtime = {}

local TYPES = {
  "anthropic", "azure", "cerebras", "deepseek", "fireworks", "gemini", "groq", "mistral", "nvidia",
  "openai", "openrouter", "together",
}

runtime.outcome = outcome.read
runtime.failure = failure.reply
runtime.ratelimit = ratelimit.synthesize
runtime.reply = reply
runtime.filter = filters.run
runtime.suggest = suggest

--- A committed stream broke: the first of res:on_break's functions that has somebody to go on.
---@param fns (fun(said: string, err: weir.Failure): weir.Response|nil)[]
---@return weir.Response|nil
function runtime.go_on(fns, said, err)
  for i = 1, #fns do
    local res = fns[i](said, err)
    if res then return res end
  end
end

--- Weir's own provider of that type; nil when there is none.
local function own_provider(type_name)
  if not host.embedded("weir.providers." .. type_name) then return nil end
  return require("weir.providers." .. type_name)
end

--- Where a module may be: beside weir.lua, in policies/ beside it, or in Weir itself.
local function candidates(folder, name)
  local path = name:gsub("%.", "/") .. ".lua"
  return { folder .. path, folder .. "policies/" .. path }
end

local function compile(text, path, env)
  local chunk, message = host.compile(text, "@" .. path, env)
  if not chunk then -- of bytecode the message has no place
    error(message:find(path, 1, true) and message or path .. ": " .. message, 0)
  end
  return chunk
end

--- Weir's own tables are for reading: who requires one gets a copy.
local function copy(value)
  if type(value) ~= "table" then return value end
  local members = {}
  for name, member in pairs(value) do members[name] = copy(member) end
  return members
end

--- The require of one generation's own files. Each file gets an environment of its own.
local function make_require(folder, weir)
  local loaded = { weir = weir }
  local own_require

  local function run(text, path, name)
    local result = compile(text, path, sandbox.env(weir, own_require, text))(name)
    loaded[name] = result == nil and true or result
    return loaded[name]
  end

  function own_require(name)
    if type(name) ~= "string" or not name:find("^[%w_][%w_.-]*$") or name:find("..", 1, true) then
      error("require wants a module's name, such as \"policies.waterfall\"", 2)
    end
    if loaded[name] ~= nil then return loaded[name] end
    if name == "weir.provider" or name:find("^weir%.providers%.") then
      return copy(require(name))
    end
    local tried = candidates(folder, name)
    local why
    for _, path in ipairs(tried) do
      if host.is_outside(folder, path) then
        error(("module %q: %s leads out of the folder of weir.lua"):format(name, path), 2)
      end
      local text
      text, why = host.read_file(path)
      if text then return run(text, path, name) end
    end
    local text, path = host.embedded(name)
    if text then return run(text, path, name) end
    if why:find("not later", 1, true) then error(("no module %q: %s"):format(name, why), 2) end
    error(("no module %q: neither %s nor one of Weir's own"):format(name,
      table.concat(tried, " nor ")), 2)
  end

  return own_require
end

--- How config.check finds a provider's type: providers/TYPE.lua beside weir.lua, else Weir's
--- own. A file that cannot be loaded is a problem, and of no type.
local function provider_finder(folder, own_require, problems)
  return function(type_name)
    local path = folder .. "providers/" .. type_name .. ".lua"
    if not type_name:find("^[%w_-]+$") or not host.read_file(path) then
      return type_name:find("^[%w_-]+$") and own_provider(type_name)
    end
    local ok, module = host.call(function() return own_require("providers." .. type_name) end)
    if ok and type(module) == "table" then return extend("openai", module) end
    problems[#problems + 1] = {
      path = path,
      message = ok and "must return a provider, made with weir.provider's extend" or module,
    }
    return own_provider("openai")
  end
end

--- A secret that is named but not there: the file would start and every request fail.
local function missing_secrets(settings, problems)
  local function look(path, value)
    if host.is_secret(value) and not value.is_set then
      problems[#problems + 1] = { path = path, message = tostring(value) .. " is not set" }
    end
  end
  local keys = type(settings.keys) == "table" and settings.keys or {}
  for i, key in ipairs(keys) do look(("keys[%d]"):format(i), key) end
  look("admin.token", settings.admin.token)
  local webhook = settings.ledger.webhook
  if webhook then
    look("ledger.webhook", webhook.url)
    for _, header in ipairs(webhook.headers) do
      look("ledger.webhook.headers." .. header.name, header.value)
    end
    local problem = host.is_secret(webhook.url) and webhook.url.is_set
      and host.url_problem(webhook.url)
    if problem then problems[#problems + 1] = { path = "ledger.webhook", message = problem } end
  end
  for _, provider in ipairs(settings.providers or {}) do
    for n, key in ipairs(provider.keys) do
      local member = #provider.keys == 1 and ".key" or (".keys[%d]"):format(n)
      look("providers." .. provider.name .. member, key)
    end
    for _, header in ipairs(provider.headers or {}) do
      look("providers." .. provider.name .. ".headers." .. header.name, header.value)
    end
  end
end

local function add_all(list, more)
  for _, item in ipairs(more) do list[#list + 1] = item end
end

--- What the files of one folder share: the weir that they require, and require itself.
---@param folder string with its slash, or ""
---@return { folder: string, weir: weir, require: fun(name: string): any }
function runtime.project(folder)
  local weir = library.new(host)
  return { folder = folder, weir = weir, require = make_require(folder, weir) }
end

--- config.check with the providers of that project.
---@return table|nil settings
---@return table[] problems
function runtime.check(raw, project)
  local broken = {}
  local settings, problems = require("weir.config").check(raw, {
    is_secret = host.is_secret,
    provider = provider_finder(project.folder, project.require, broken),
    types = TYPES,
    zone = host.zone,
  })
  add_all(problems, broken)
  return settings, problems
end

--- Loads a weir.lua. The simulator gives the project, and needs no secrets.
---@param path string
---@param simulated table|nil
---@return table|nil settings as config.check gave them
---@return string[]|nil problems for people, when there are any
function runtime.load(path, simulated)
  local text, message = host.read_file(path)
  if not text then return nil, { message } end

  local project = simulated or runtime.project(path:match("^(.*/)") or "")
  local ok, raw = host.call(function()
    return compile(text, path, sandbox.env(project.weir, project.require, text))("weir.lua")
  end)
  if not ok then return nil, { raw } end

  local settings, problems = runtime.check(raw, project)
  if settings and #problems == 0 then
    add_all(problems, targets.problems(settings, host.reaches))
    if not simulated then missing_secrets(settings, problems) end
  end
  if #problems == 0 then
    runtime.price = require("weir.price").finder(settings.prices)
    return settings
  end
  return nil, runtime.lines(path, problems)
end

--- Problems as lines for people.
---@return string[]
function runtime.lines(path, problems)
  local lines = {}
  for i, problem in ipairs(problems) do
    local hint = problem.suggestion and (" (did you mean: %s)"):format(problem.suggestion) or ""
    lines[i] = ("%s: %s: %s%s"):format(path, problem.path, problem.message, hint)
  end
  return lines
end

--- Targets whose use would cost nothing, as nobody said what it costs.
local function unpriced(settings, list)
  local price, missing = require("weir.price"), {}
  local types = {}
  for _, provider in ipairs(settings.providers) do
    types[provider.name] = not provider.reports_cost and provider.type
  end
  for _, target in ipairs(list) do
    local name, model = target:match("^(.-)/(.*)$")
    local type = model ~= "*" and types[name]
    if type and not price.find(settings.prices, name, type, model) then
      missing[#missing + 1] = target
    end
  end
  return missing
end

local function key_names(keys)
  local names = {}
  for i, key in ipairs(keys) do names[i] = tostring(key) end
  return #keys == 0 and "" or (#keys == 1 and "  key " or "  keys ") .. table.concat(names, ", ")
end

--- Who is let in.
local function who(settings)
  if settings.keys == "ledger" then
    return ("the ledger's, days of budgets begin in %s"):format(settings.ledger.timezone)
  end
  local names = {}
  for i, key in ipairs(settings.keys or {}) do names[i] = tostring(key) end
  return #names > 0 and table.concat(names, ", ") or "none: whoever reaches it is let in"
end

--- What `weir check` prints.
---@param settings table
---@return string
function runtime.describe(settings)
  local lines = {
    ("listen     %s:%d%s"):format(settings.listen.host, settings.listen.port,
      settings.tls and ", TLS" or ""),
    "keys       " .. who(settings),
  }
  for _, provider in ipairs(settings.providers) do
    lines[#lines + 1] = ("provider   %-14s %-11s %s%s"):format(provider.name, provider.type,
      provider.base_url, key_names(provider.keys))
  end
  local models, reached = {}, {}
  add_all(models, settings.models)
  if settings.fallback then models[#models + 1] = { name = "*", policy = settings.fallback } end
  for _, model in ipairs(models) do
    local list = targets.of(model.policy, host.reaches)
    lines[#lines + 1] = ("model      %-14s %s"):format(model.name,
      #list > 0 and table.concat(list, ", ") or "a policy of its own")
    add_all(reached, list)
  end
  local missing = settings.keys == "ledger" and unpriced(settings, reached) or {}
  if #missing > 0 then
    lines[#lines + 1] = ("no price   %s: free as far as budgets know; prices in weir.lua say more")
      :format(table.concat(missing, ", "))
  end
  return table.concat(lines, "\n") .. "\n"
end

--- The settings as JSON, for GET /config: without a secret.
---@param settings table
---@return string
function runtime.show(settings)
  return assert(host.json_encode(show(settings, host)))
end

return runtime
