--- clerk.lua -- what the clerk answers: keys, teams, usage, requests, over HTTP.
local text = require("weir.clerk_text")

local LIST = { "name", "prefix", "state", "team", "models", "rpm", "tpm", "concurrent", "budget",
  "period", "spent", "reserved", "renews", "expires" }
local SHEET = { "key", "old_until", "name", "prefix", "state", "team", "models", "labels", "rpm",
  "tpm", "concurrent", "budget", "period", "soft", "spent", "reserved", "left", "renews",
  "in_flight", "expires", "created", "revoked" }
local REQUEST = { "id", "time", "key", "team", "model", "endpoint", "status", "code", "target",
  "first_ms", "total_ms", "prompt", "completion", "cached", "reasoning", "cost", "estimated",
  "generation" }
local TRAIL = { "number", "target", "code", "status", "first_ms", "total_ms", "prompt",
  "completion", "cached", "reasoning", "cost", "estimated" }
local WORDS = { [200] = "OK", [201] = "Created", [400] = "Bad Request", [404] = "Not Found",
  [405] = "Method Not Allowed", [409] = "Conflict", [500] = "Internal Server Error" }

local function unescape(part)
  return (part:gsub("+", " "):gsub("%%(%x%x)", function(hex)
    return string.char(tonumber(hex, 16))
  end))
end

local function query_of(target)
  local query = {}
  for name, value in (target:match("%?(.*)$") or ""):gmatch("([^&=]+)=?([^&]*)") do
    query[unescape(name)] = unescape(value)
  end
  return query
end

---@param host table what lua_clerk.c gives
return function(host)
  local keys, usage = require("weir.clerk_keys")(host), require("weir.clerk_usage")(host)
  local clerk = { load = keys.load, turn = keys.turn }

  local function refuse(status, message) error({ status = status, message = message }, 0) end

  --- The rows as they were asked for.
  local function rows(request, list, columns, name)
    if request.query.format == "csv" then return 200, text.csv(list, columns), "text/csv" end
    if request.wants_text then return 200, text.table(list, columns) end
    return 200, { [name] = list }
  end

  local function account(request, status, row)
    if not request.wants_text then return status, row end
    return status, text.sheet(row, SHEET)
  end

  local function models_as_text(list)
    for _, row in ipairs(list) do
      row.models = row.models and table.concat(row.models, ",") or nil
    end
    return list
  end

  local function serve_accounts(request, collection, name, verb)
    local kind, method = keys.kinds[collection], request.method
    if not name then
      if method == "POST" then return account(request, 201, keys.add(kind, request.body)) end
      local list = keys.list(kind)
      return rows(request, request.wants_text and models_as_text(list) or list, LIST, collection)
    end
    if method == "GET" and not verb then
      return account(request, 200, keys.show(kind, name))
    elseif method == "POST" and not verb then
      return account(request, 200, keys.set(kind, name, request.body))
    elseif method == "POST" and (verb == "revoke" or verb == "rotate") then
      return account(request, 200, keys[verb](kind, name, request.body))
    end
    refuse(verb and 404 or 405, ("nothing is served there: %s %s"):format(method, request.path))
  end

  local function serve_requests(request, id)
    if not id then
      local list, columns = usage.requests(request.query)
      return rows(request, list, columns, "requests")
    end
    local found = usage.request(id)
    if not request.wants_text then return 200, found end
    return 200, text.sheet(found, REQUEST) .. "\n" .. text.table(found.trail, TRAIL)
  end

  local function route(request)
    local collection, name, verb = request.path:match("^/(%a+)/?([^/]*)/?([^/]*)$")
    name = name ~= "" and unescape(name) or nil
    verb = verb ~= "" and verb or nil
    if keys.kinds[collection] then return serve_accounts(request, collection, name, verb) end
    if request.method ~= "GET" then refuse(405, "GET is served there") end
    if collection == "usage" and not name then
      local list, columns = usage.sums(request.query)
      return rows(request, list, columns, "usage")
    end
    if collection == "requests" and not verb then return serve_requests(request, name) end
    refuse(404, "nothing is served at " .. request.path)
  end

  local function wants_text(bytes)
    return bytes:lower():find("\naccept: text/plain\r\n", 1, true) ~= nil
  end

  local function read(bytes)
    local head, body = bytes:match("^(.-)\r\n\r\n(.*)$")
    local method, target = head:match("^(%u+) (%S+)")
    local request = {
      method = method, path = target:match("^[^?]*"), query = query_of(target), body = {},
      wants_text = wants_text(bytes),
    }
    if #body > 0 then
      local decoded, why = host.decode(body)
      if type(decoded) ~= "table" then
        refuse(400, "the body must be a JSON object" .. (why and ": " .. tostring(why) or ""))
      end
      request.body = decoded
    end
    return request
  end

  local function fault(problem)
    if type(problem) == "table" then return problem.status, problem.message end
    return 500, tostring(problem)
  end

  --- The whole answer to the bytes of a request.
  function clerk.answer(bytes)
    local ok, status, body, kind = pcall(function() return route(read(bytes)) end)
    if not ok then
      local message
      status, message = fault(status)
      body = wants_text(bytes) and message .. "\n" or { error = message }
    end
    if type(body) == "table" then body, kind = host.encode(body), "application/json" end
    return ("HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\nconnection: close\r\n"
      .. "\r\n%s"):format(status, WORDS[status] or "Answer", kind or "text/plain", #body, body)
  end

  return clerk
end
