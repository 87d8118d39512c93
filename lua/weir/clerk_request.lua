--- clerk_request.lua -- what the clerk is asked: the bytes of an HTTP request as a table, its route
--- found, and every name in its query and body one that the route knows.
local refuse = require("weir.clerk_refuse")
local routes = require("weir.clerk_routes")
local suggest = require("weir.suggest")

local clerk_request = {}

local patterns = {} -- of the routes' paths
for i, route in ipairs(routes) do
  patterns[i] = "^" .. route[2]:gsub("{%w+}", "([^/]+)") .. "$"
end

local function unescape(part)
  return (part:gsub("+", " "):gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

local function query_of(target)
  local query = {}
  for name, value in (target:match("%?(.*)$") or ""):gmatch("([^&=]+)=?([^&]*)") do
    name = unescape(name)
    if query[name] then refuse(400, name:sub(1, 64) .. ": comes twice in the query") end
    query[name] = unescape(value)
  end
  return query
end

--- The route, and the name in its path.
local function route_of(method, path)
  local served = {}
  for i, route in ipairs(routes) do
    local name = path:match(patterns[i])
    if name and route[1] == method then return route, unescape(name) end
    if name then served[#served + 1] = route[1] end
  end
  if #served > 0 then
    refuse(405, ("%s is not served at %s, but %s is"):format(method, path:sub(1, 200),
      table.concat(served, " and ")), table.concat(served, ", "))
  end
  local paths, has = {}, {}
  for _, route in ipairs(routes) do
    if not has[route[2]] then paths[#paths + 1] = route[2] end
    has[route[2]] = true
  end
  refuse(404, ("nothing is served at %s; there are %s"):format(path:sub(1, 200),
    table.concat(paths, ", ")))
end

--- A list and its words: for people the options that they typed (remote_ledger.c).
local function as_options(known)
  local list = {}
  for _, name in ipairs(known) do
    list[#list + 1] = "--" .. (name == "labels" and "label" or name == "format" and "csv" or name)
  end
  return list
end

--- Passed over in silence, a name that nobody knows would mislead.
local function check_names(given, known, what, wants_text)
  known = known or {}
  local has, shown = {}, wants_text and as_options(known) or known
  for _, name in ipairs(known) do has[name] = true end
  for name in pairs(given) do
    name = tostring(name)
    if not has[name] then
      local said = wants_text and "--" .. name or name
      local near = suggest(said, shown)
      local expected = #known == 0 and "none is taken"
        or "it is one of " .. table.concat(shown, ", ")
      refuse(400, ("%s: no such %s here%s; %s"):format(said:sub(1, 64),
        wants_text and "option" or what, near and (" (did you mean '%s'?)"):format(near) or "",
        expected))
    end
  end
end

local function read_body(body, host)
  if #body == 0 then return {} end
  local decoded, why = host.decode(body)
  if type(decoded) ~= "table" or getmetatable(decoded) then -- a list has the metatable of lists
    refuse(400, "the body must be a JSON object" .. (why and ": " .. tostring(why) or ""))
  end
  return decoded
end

--- Whether the answer is for people: lines, not JSON.
---@param bytes string
---@return boolean
function clerk_request.wants_text(bytes)
  return bytes:lower():find("\naccept: text/plain\r\n", 1, true) ~= nil
end

--- Raises a refusal where nothing of that kind is served.
---@param bytes string a whole HTTP request
---@param host table what lua_clerk.c gives
---@return { serve: string, kind: string|nil, name: string, query: table, body: table,
---          wants_text: boolean }
function clerk_request.read(bytes, host)
  local head, body = bytes:match("^(.-)\r\n\r\n(.*)$")
  local method, target = head:match("^(%u+) (%S+)")
  local route, name = route_of(method, target:match("^[^?]*"))
  local request = {
    serve = route[3], kind = route.kind, name = name, query = query_of(target),
    body = method == "POST" and read_body(body, host) or {},
    wants_text = clerk_request.wants_text(bytes),
  }
  check_names(request.query, route.query, "parameter", request.wants_text)
  check_names(request.body, route.members, "member", request.wants_text)
  return request
end

return clerk_request
