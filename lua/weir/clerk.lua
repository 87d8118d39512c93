--- clerk.lua -- what the clerk answers: keys, teams, usage, requests, over HTTP.
local clerk_request = require("weir.clerk_request")
local refuse = require("weir.clerk_refuse")
local store = require("weir.clerk_store")
local text = require("weir.clerk_text")

local KEYS = { "name", "prefix", "state", "team", "models", "rpm", "tpm", "concurrent", "budget",
  "spent", "left", "renews", "expires" } -- in a table for people
local TEAMS = { "name", "models", "rpm", "tpm", "concurrent", "budget", "spent", "left", "renews" }
local LIST = { "name", "prefix", "state", "team", "models", "rpm", "tpm", "concurrent", "budget",
  "period", "spent", "reserved", "renews", "expires" }
local SHEET = { "key", "old_until", "name", "prefix", "state", "team", "models", "labels", "rpm",
  "tpm", "concurrent", "budget", "soft", "spent", "reserved", "left", "renews",
  "in_flight", "expires", "store", "created", "revoked" }
local REQUEST = { "id", "time", "key", "team", "model", "endpoint", "status", "code", "target",
  "first_ms", "total_ms", "prompt", "completion", "cached", "reasoning", "cost", "estimated",
  "generation" }
local REQUESTS = { "time", "id", "key", "model", "target", "status", "code", "attempts", "first_ms",
  "total_ms", "prompt", "completion", "cost" } -- in a table for people
local TRAIL = { "number", "target", "code", "status", "first_ms", "total_ms", "prompt",
  "completion", "cached", "reasoning", "cost", "estimated" }
local WORDS = { [200] = "OK", [201] = "Created", [400] = "Bad Request", [404] = "Not Found",
  [405] = "Method Not Allowed", [409] = "Conflict", [500] = "Internal Server Error",
  [503] = "Service Unavailable" }
local FORMATS = { json = true, csv = true }
--- How wide the columns of a list are that comes in pages, unless something is wider.
local WIDTHS = { name = 20, team = 12, models = 12, budget = 12, spent = 8, left = 8, renews = 10,
  expires = 10 }

---@param host table what lua_clerk.c gives
return function(host)
  local keys = require("weir.clerk_keys")(host)
  local usage = require("weir.clerk_usage")(host, keys.find)
  local clerk = { load = keys.load }
  local serve = {} -- by the names in clerk_routes.lua

  --- A row at a time: in one go, a long list would let nobody else have a turn.
  local function json_of(name, list, next)
    local parts = {}
    for i, row in ipairs(list) do parts[i] = host.encode(row) end
    return ('{"%s":[%s]%s}'):format(name, table.concat(parts, ","),
      next and ',"next":' .. host.encode(next) or "")
  end

  --- Rows as they were asked for: under a name in JSON, as CSV, or as a table for people, with
  --- other columns where these are named. Where more follow, next is the value of the option that
  --- asks for them, more.
  local function rows(request, list, columns, name, people, next, more)
    local format = request.query.format
    if format and not FORMATS[format] then refuse(400, "format: must be csv or json") end
    if format == "csv" then return 200, text.csv(list, columns), "text/csv", next end
    if not request.wants_text or format then
      return 200, json_of(name, list, next), "application/json", next
    end
    local body = text.table(list, people or columns, (next or request.query.after) and WIDTHS)
    if next then body = body .. ("more: %s %s\n"):format(more, next) end
    return 200, body, nil, next
  end

  local function account(request, status, row)
    if not request.wants_text then return status, row end
    return status, text.sheet(row, SHEET)
  end

  function serve.list(request)
    local list, next = keys.list(request.kind, request.query)
    return rows(request, list, LIST, request.kind .. "s", request.kind == "team" and TEAMS or KEYS,
      next, "--after")
  end

  function serve.add(request) return account(request, 201, keys.add(request.kind, request.body)) end

  for _, name in ipairs { "show", "set", "rotate", "revoke" } do
    serve[name] = function(request)
      return account(request, 200, keys[name](request.kind, request.name, request.body))
    end
  end

  function serve.usage(request)
    local list, columns = usage.sums(request.query)
    if request.wants_text and not request.query.format and #list > 1 then
      list[#list + 1] = usage.total(list, columns)
    end
    return rows(request, list, columns, "usage")
  end

  function serve.requests(request)
    local list, columns, next = usage.requests(request.query)
    return rows(request, list, columns, "requests", REQUESTS, next, "--before")
  end

  function serve.request(request)
    local found = usage.request(request.name)
    if not request.wants_text then return 200, found end
    local trail = #found.trail > 0 and text.table(found.trail, TRAIL) or "no attempt was made\n"
    return 200, text.sheet(found, REQUEST) .. "\n" .. trail
  end

  --- What its key has stored of it; the row of a request that is under way is yet to come.
  function serve.texts(request)
    local found = store.of(host, request.name)
    if not found then
      refuse(404, "nothing is stored of a request of that id: its key does not store, or its time "
        .. "is over")
    end
    found.key, found.account = keys.name_of(found.account), nil
    if not request.wants_text then return 200, found end
    return 200, store.lines(found)
  end

  local function fault(problem)
    if type(problem) == "table" then return problem end
    problem = tostring(problem)
    return { status = problem:find("^ledger: ") and 503 or 500, message = problem }
  end

  --- What the ledger cannot tell now is asked for with the next turn; the log has that it cannot.
  function clerk.turn()
    local ok, problem = pcall(keys.turn)
    if not ok and fault(problem).status ~= 503 then error(problem, 0) end
  end

  --- The whole answer to the bytes of a request.
  function clerk.answer(bytes)
    local ok, status, body, kind, next = pcall(function()
      local request = clerk_request.read(bytes, host)
      return serve[request.serve](request)
    end)
    local more = ok and next and ("x-weir-next: %s\r\n"):format(next) or ""
    if not ok then
      local refusal = fault(status)
      status = refusal.status
      more = refusal.allow and ("allow: %s\r\n"):format(refusal.allow) or ""
      body = clerk_request.wants_text(bytes) and refusal.message .. "\n"
        or { error = refusal.message }
    end
    if type(body) == "table" then body, kind = host.encode(body), "application/json" end
    return ("HTTP/1.1 %d %s\r\ncontent-type: %s\r\n%scontent-length: %d\r\nconnection: close\r\n"
      .. "\r\n%s"):format(status, WORDS[status] or "Answer", kind or "text/plain", more, #body,
      body)
  end

  return clerk
end
