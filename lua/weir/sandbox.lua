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
  "assert", "error", "ipairs", "next", "pairs", "pcall", "rawequal", "rawget", "select",
  "setmetatable", "tonumber", "type", "unpack",
}
local LIBRARIES = {
  bit = { "arshift", "band", "bnot", "bor", "bswap", "bxor", "lshift", "rol", "ror", "rshift",
    "tobit", "tohex" },
  math = { "abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "cosh", "deg", "exp", "floor",
    "fmod", "frexp", "huge", "ldexp", "log", "log10", "max", "min", "modf", "pi", "pow", "rad",
    "random", "sin", "sinh", "sqrt", "tan", "tanh" }, -- randomseed would be for all
  string = { "byte", "char", "find", "format", "gmatch", "gsub", "len", "lower", "match", "rep",
    "reverse", "sub", "upper" },
  table = { "concat", "insert", "maxn", "move", "remove", "sort" },
}

--- What marks lists; all lists have it, so nobody gets hold of it.
local ARRAY = getmetatable(host.json_array {})

--- A copy, so that a file that changes string.rep changes its own.
local function copy(source, names)
  local members = {}
  for _, name in ipairs(names) do members[name] = source[name] end
  return members
end

--- A table whose metatable says false is written by its owner alone.
local function refuse_protected(value)
  if type(value) == "table" and getmetatable(value) == false then
    error("this table cannot be written", 3)
  end
end

local function own_rawset(target, key, value)
  refuse_protected(target)
  return rawset(target, key, value)
end

local function own_insert(list, ...)
  refuse_protected(list)
  return table.insert(list, ...)
end

--- Without the address, which would tell where things lie in memory, and differ at each run.
local function plain_tostring(value)
  local text, kind = tostring(value), type(value)
  if text:sub(1, #kind + 2) == kind .. ": " and kind ~= "string" then return kind end
  return text
end

--- Of tables only, and not of lists: what strings, userdata and lists share belongs to all.
local function table_metatable(value)
  local metatable = type(value) == "table" and getmetatable(value) or nil
  if metatable ~= ARRAY then return metatable end
end

local function printer(weir)
  return function(...)
    local parts = {}
    for i = 1, select("#", ...) do parts[i] = plain_tostring((select(i, ...))) end
    weir.log.info("print", { text = table.concat(parts, "\t") })
  end
end

--- Whether a file may use a library: one that it never names it cannot, but by way of _G.
local function may_use(name, text)
  return not text or text:find(name, 1, true) or text:find("_G", 1, true)
end

--- The globals of one file. Copies of libraries are a third of what a small file costs, so it gets
--- those alone that its text names.
---@param weir weir
---@param require_fn fun(name: string): any
---@param text string|nil the file's; nil: it gets all
---@return table
function sandbox.env(weir, require_fn, text)
  local env = {
    getmetatable = table_metatable,
    print = printer(weir),
    require = require_fn,
    tostring = plain_tostring,
  }
  for _, name in ipairs(PLAIN) do env[name] = _G[name] end
  env.pairs = host.pairs -- honours __pairs, which req.body and req.headers have
  for name, members in pairs(LIBRARIES) do
    if may_use(name, text) then env[name] = copy(_G[name], members) end
  end
  env.rawset = own_rawset
  if env.table then env.table.insert = own_insert end
  env._G = env
  return env
end

return sandbox
