--- sim.lua -- require "weir.sim": plays requests through policies without a network.
---
---     sim.provider("groq"):answers(429, { retry_after = 30 }):answers("stream", { "Hel", "lo" })
---     local result = sim.run(waterfall { "groq/llama", "openai/gpt" }, { stream = true })
---     assert.same({ "groq/llama", "openai/gpt" }, result.targets)
local core = require("weir.sim_host")
local host = require("weir.host")
local runtime = require("weir.runtime")
local script = require("weir.sim_script")
local sim_result = require("weir.sim_result")
local targets = require("weir.targets")
local sim = { provider = script.provider, host = script.host }

local ENDPOINTS = { chat = 0, completions = 1, embeddings = 2 } -- as in config.h
local SPOKEN = { chat = "messages", completions = "prompt", embeddings = "input" }
local REQUEST = {
  at = true, body = true, endpoint = true, headers = true, key = true, leaves = true,
  messages = true, model = true, stream = true,
}

local project = runtime.project("")
project.path = "weir.lua"
local known, seen_lists = {}, 0 -- providers that targets name, and how many lists were looked at
local configured                -- what the core is configured with
local loaded                    -- the settings of the weir.lua, while that is it
local general = {}              -- members of a weir.lua besides providers and models
local log = {}                  -- of the last play

-- ---- configurations ----

--- Where weir.lua is, and the modules of its policies. weir test calls it.
---@param folder string with its slash, or ""
---@param path string|nil its weir.lua, when it has another name
function sim.open(folder, path)
  project = runtime.project(folder)
  project.path = path or folder .. "weir.lua"
  return project
end

local function explain_problems(where, problems)
  error(where .. ":\n  " .. table.concat(problems, "\n  "), 0)
end

local function note_targets()
  local lists = targets.recorded()
  for i = seen_lists + 1, #lists do
    for _, target in ipairs(lists[i]) do known[target:match("^[^/]+")] = true end
  end
  seen_lists = #lists
end

local function type_of(name)
  local is_own = host.embedded("weir.providers." .. name)
    or host.read_file(project.folder .. "providers/" .. name .. ".lua")
  return is_own and name or "openai"
end

--- A provider's entry, as a weir.lua would have it.
local function entry(name, options)
  local made = { type = type_of(name), key = host.env("SIMULATED"),
    base_url = "http://" .. name .. ".sim/v1" }
  for member, value in pairs(options) do made[member] = value end
  return made
end

local function raw_settings()
  local raw = { providers = {}, models = { ["*"] = function() end } }
  for name in pairs(known) do raw.providers[name] = entry(name, {}) end
  for name, provider in pairs(script.providers) do
    raw.providers[name] = entry(name, provider.options)
  end
  local hosts = {}
  for base in pairs(script.hosts) do hosts[#hosts + 1] = { base, private = true } end
  raw.policy = { fetch = hosts }
  for name, value in pairs(general) do raw[name] = value end
  return raw
end

--- Two worlds of the same signature have the same configuration.
local function signature()
  local names = {}
  for name in pairs(known) do names[#names + 1] = name end
  local options = {}
  for name, provider in pairs(script.providers) do options[name] = provider.options end
  table.sort(names)
  local hosts = {}
  for base in pairs(script.hosts) do hosts[#hosts + 1] = base end
  table.sort(hosts)
  return host.json_encode { host.json_array(names), options, general, host.json_array(hosts) }
end

local function configure()
  note_targets()
  local wanted = signature()
  if wanted and wanted == configured then return end
  local settings, problems = runtime.check(raw_settings(), project)
  if #problems > 0 then explain_problems("sim", runtime.lines("sim", problems)) end
  core.configure(settings)
  configured = wanted
end

--- Loads a weir.lua, whose models sim.request then asks for. Its secrets need not be there.
---@param path string|nil the one above the spec
---@return table settings
function sim.config(path)
  path = path or project.path
  if configured == "file " .. path then return loaded end
  local settings, problems = runtime.load(path, project)
  if not settings then explain_problems("sim.config", problems) end
  core.configure(settings)
  configured, loaded = "file " .. path, settings
  return settings
end

--- Members of a weir.lua that count for sim.run: timeout, cooldown, policy, limits.
---@param members table
function sim.settings(members)
  general = members
end

-- ---- requests ----

local function body_of(request)
  if type(request.body) == "string" then return request.body end
  local body = {}
  for name, value in pairs(request.body or {}) do body[name] = value end
  for _, name in ipairs { "model", "messages", "stream" } do
    if request[name] ~= nil then body[name] = request[name] end
  end
  local spoken = SPOKEN[request.endpoint or "chat"]
  body.model = body.model or "default"
  if body[spoken] == nil then
    body[spoken] = spoken == "messages" and { { role = "user", content = "Hello" } } or "Hello"
  end
  local text, problem = host.json_encode(body)
  return text or error("the request's body: " .. problem, 0)
end

local function check_request(request)
  for name in pairs(request) do
    if not REQUEST[name] then
      error(("a request has no member '%s' (the model's parameters go into body)"):format(name), 0)
    end
  end
  if not ENDPOINTS[request.endpoint or "chat"] then
    error(("no endpoint '%s'"):format(tostring(request.endpoint)), 0)
  end
end

local function for_core(request)
  check_request(request)
  local headers = {}
  for name, value in pairs(request.headers or {}) do headers[#headers + 1] = { name, value } end
  return {
    body = body_of(request),
    endpoint = ENDPOINTS[request.endpoint or "chat"],
    headers = headers,
    key = request.key,
    at = request.at or 0,
    leaves = request.leaves or 0,
  }
end

local function play(policy, requests)
  local list = {}
  for i, request in ipairs(requests) do list[i] = for_core(request) end
  local seen, text, trouble = core.play(list, policy)
  log = sim_result.lines(text)
  if trouble then error(trouble, 0) end
  return sim_result.make(seen, log)
end

--- Plays a request through a policy.
---@param policy weir.Policy
---@param request table|nil { model, stream, messages, body, endpoint, headers, key, leaves }
---@return weir.sim.Result
function sim.run(policy, request)
  return sim.all(policy, { request or {} })[1]
end

--- Plays requests at once; at = seconds starts one later.
---@return weir.sim.Result[]
function sim.all(policy, requests)
  if type(policy) ~= "function" then error("sim: argument 1 must be a policy", 3) end
  configure()
  return play(policy, requests)
end

--- Plays a request for a model of the weir.lua above the spec, or of sim.config's.
---@return weir.sim.Result
function sim.request(request)
  if not (configured and configured:find("^file ")) then sim.config() end
  return play(nil, { request or {} })[1]
end

-- ---- the world ----

--- Time goes on: cooldowns run out.
---@param seconds number
function sim.sleep(seconds)
  core.advance(seconds)
end

--- Lets a target, or a provider's key, rest, as if it had failed.
function sim.cool(target, seconds, reason)
  core.cool(target, seconds, reason or "rate_limited")
end

--- Every request that left, to whichever provider, in order.
---@return table[]
function sim.asked()
  return script.asked
end

--- The log of the last requests, decoded.
---@return table[]
function sim.log()
  return log
end

--- What weir.metric has counted, by series: { ['jokes{team="red"}'] = 2 }.
---@return table<string, number>
function sim.metrics()
  local counts = {}
  for line in core.metrics():gmatch("[^\n]+") do
    local name, labels, sum = line:match("^weir_policy_([%l%d_]-)_total(.-) ([%d.e+]+)$")
    if name then counts[name .. labels] = tonumber(sum) end
  end
  return counts
end

--- A new world: nothing is scripted, nothing cools. weir test calls it before each test.
function sim.reset()
  script.reset()
  core.reset()
  general, log = {}, {}
end

return sim
