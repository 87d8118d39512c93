--- sandbox.lua -- what a user's file sees: an allow-list, fresh for each file.
---
--- Policies are written by the operator: this contains mistakes, not adversaries. Left out on
--- purpose: whatever loads code (load, loadstring, dofile, string.dump), whatever changes
--- another's environment (getfenv, setfenv, newproxy), collectgarbage, and coroutine: the core
--- runs a policy as one, waiting looks like a call, and one of the policy's own would take the
--- core's yields for its own.
local host = require("weir.host")
local sandbox = {}

local PLAIN = {
  "assert", "error", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "rawset", "select",
  "setmetatable", "tonumber", "type", "unpack",
}
local LIBRARIES = { "bit", "math", "string", "table" }

local function copy(source)
  local members = {}
  for name, value in pairs(source) do members[name] = value end
  return members
end

--- Without the address, which would tell where things lie in memory, and differ at each run.
local function plain_tostring(value)
  local text, kind = tostring(value), type(value)
  if text:sub(1, #kind + 2) == kind .. ": " and kind ~= "string" then return kind end
  return text
end

--- Of tables only: what strings and userdata share belongs to all.
local function table_metatable(value)
  if type(value) == "table" then return getmetatable(value) end
end

local function printer(weir)
  return function(...)
    local parts = {}
    for i = 1, select("#", ...) do parts[i] = plain_tostring((select(i, ...))) end
    weir.log.info("print", { text = table.concat(parts, "\t") })
  end
end

--- The globals of one file.
---@param weir weir
---@param require_fn fun(name: string): any
---@return table
function sandbox.env(weir, require_fn)
  local env = {
    getmetatable = table_metatable,
    print = printer(weir),
    require = require_fn,
    tostring = plain_tostring,
  }
  for _, name in ipairs(PLAIN) do env[name] = _G[name] end
  env.pairs = host.pairs -- honours __pairs, which req.body and req.headers have
  for _, name in ipairs(LIBRARIES) do env[name] = copy(_G[name]) end
  env._G = env
  return env
end

return sandbox
