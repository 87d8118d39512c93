--- library.lua -- the table that `require "weir"` gives a policy.
---
--- What needs the world is the core's: host has env, file, log, metric, now, time, sleep, fetch,
--- shared, target, json_encode, json_decode, json_array and null. Here arguments are checked, so
--- that misuse raises and names the argument, at the line of whoever called.
local fetch = require("weir.fetch")
local targets = require("weir.targets")
local window = require("weir.window")
local library = {}

local MAX_SLEEP = 86400 -- seconds

local function expect(name, position, kind, value)
  if type(value) == kind then return end
  local got = value == nil and "nothing" or "a " .. type(value)
  error(("bad argument #%d to %s: expected a %s, got %s"):format(position, name, kind, got), 3)
end

--- A function of the host whose only argument is of that kind.
local function checked(name, kind, call)
  return function(value)
    expect(name, 1, kind, value)
    return call(value)
  end
end

--- weir.log.info("chose", { target = "groq/llama" }): an event's name and its fields.
local function logger(host, level)
  local name = "weir.log." .. level
  return function(event, fields)
    expect(name, 1, "string", event)
    if fields ~= nil then expect(name, 2, "table", fields) end
    host.log(level, event, fields or {})
  end
end

local function counter(host)
  return function(name, value, labels)
    expect("weir.metric", 1, "string", name)
    if value ~= nil then expect("weir.metric", 2, "number", value) end
    if labels ~= nil then expect("weir.metric", 3, "table", labels) end
    host.metric(name, value, labels)
  end
end

local function sleeper(host)
  return function(seconds)
    expect("weir.sleep", 1, "number", seconds)
    if not (seconds >= 0 and seconds <= MAX_SLEEP) then
      error(("bad argument #1 to weir.sleep: must be 0 to %d seconds"):format(MAX_SLEEP), 2)
    end
    return host.sleep(seconds)
  end
end

local function encoder(host)
  return function(value)
    local text, problem = host.json_encode(value)
    if not text then error("weir.json.encode: " .. tostring(problem), 2) end
    return text
  end
end

--- Reads like members; writing is an error, for all files of a generation share it.
local function frozen(members, name)
  return setmetatable({}, {
    __index = members,
    __newindex = function(_, member)
      error(("%s.%s cannot be set"):format(name, tostring(member)), 2)
    end,
    __metatable = false,
  })
end

---@param host table
---@return weir
function library.new(host)
  local log, json = {}, {
    encode = encoder(host),
    decode = checked("weir.json.decode", "string", host.json_decode),
    array = checked("weir.json.array", "table", host.json_array),
    null = host.null,
  }
  for _, level in ipairs { "debug", "info", "warn", "error" } do
    log[level] = logger(host, level)
  end
  return frozen({
    env = checked("weir.env", "string", host.env),
    file = checked("weir.file", "string", host.file),
    log = frozen(log, "weir.log"),
    fetch = fetch.new(host),
    json = frozen(json, "weir.json"),
    metric = counter(host),
    now = host.now,
    time = host.time,
    shared = checked("weir.shared", "string", host.shared),
    sleep = sleeper(host),
    target = checked("weir.target", "string", host.target),
    targets = targets.list,
    window = window.new,
  }, "weir")
end

return library
