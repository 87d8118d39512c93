--- fetch.lua -- weir.fetch: what a policy asks of the world besides providers.
---
--- The core sends, and allows only what policy.fetch names; here a call is checked, so that
--- misuse raises at the caller's line, and what the world does wrong comes back as nil, err.
local header = require("weir.header")
local url = require("weir.url")
local fetch = {}

local MEMBERS = {
  url = true, method = true, headers = true, bearer = true, body = true, timeout = true, max = true,
}
local METHODS = { GET = true, POST = true, PUT = true, PATCH = true, DELETE = true }
local DEFAULT_TIMEOUT, MAX_TIMEOUT = 5, 60         -- seconds
local DEFAULT_MAX, MAX_MAX = 1024 * 1024, 16 * 1024 * 1024 -- bytes

local function complain(text, ...)
  error(("weir.fetch: " .. text):format(...), 4)
end

--- "https://host:port", with the port only where it is not the scheme's usual one; and the path.
---@param text string
---@return string|nil base, string path, or the rest of a sentence
function fetch.split(text)
  local scheme, authority, rest = text:match("^(https?)://([^/?#]*)([^#]*)$")
  if not scheme then return nil, 'must begin with "http://" or "https://", without a fragment' end
  local path, query = rest:match("^([^?]*)(.*)$")
  if query:find("[^%w%-._~!$&'()*+,;=:@/?%%]") then
    return nil, "has a character that no URL has: escape it"
  end
  local base = scheme .. "://" .. authority:lower()
  local _, problem = url.read(base .. path)
  if problem then return nil, problem end
  base = base:gsub(scheme == "https" and ":443$" or ":80$", "")
  return base, (path == "" and "/" or path) .. query
end

local function number(request, name, default, most)
  local value = request[name]
  if value == nil then return default end
  if type(value) ~= "number" or not (value > 0 and value <= most) then
    complain("%s must be a number above 0, at most %d", name, most)
  end
  return value
end

local function add_header(host, list, name, value, prefix)
  local problem = type(name) == "string" and header.framing_problem(name) or nil
  if type(name) ~= "string" or problem then
    complain("headers: %s %s", tostring(name), problem or "is not a header's name")
  end
  if not host.is_secret(value) then
    if type(value) == "number" then value = tostring(value) end
    if type(value) ~= "string" then complain("headers.%s must be a string or a secret", name) end
    problem = header.value_problem(value)
    if problem then complain("headers.%s %s", name, problem) end
  end
  list[#list + 1] = { name, value, prefix }
end

local function headers_of(host, request, is_json)
  local list, has_type = {}, false
  if request.headers ~= nil and type(request.headers) ~= "table" then
    complain("headers must be a table of names and values")
  end
  for name, value in pairs(request.headers or {}) do
    add_header(host, list, name, value)
    has_type = has_type or name:lower() == "content-type"
  end
  if request.bearer ~= nil then
    add_header(host, list, "Authorization", request.bearer, "Bearer ")
  end
  if is_json and not has_type then list[#list + 1] = { "Content-Type", "application/json" } end
  if #list > 64 then complain("at most 64 headers") end
  return list
end

local function body_of(host, request)
  local body = request.body
  if body == nil then return "", false end
  if type(body) == "string" then return body, false end
  if type(body) ~= "table" then complain("body must be a string, or a table: it goes as JSON") end
  local text, problem = host.json_encode(body)
  if not text then complain("body: %s", problem) end
  return text, true
end

local function check(host, request)
  if type(request) == "string" then request = { url = request } end
  if type(request) ~= "table" then complain("expected a table like { url = \"https://…\" }") end
  for name in pairs(request) do
    if not MEMBERS[name] then complain("unknown member %s", tostring(name)) end
  end
  if type(request.url) ~= "string" then complain("url must be a string") end
  local base, path = fetch.split(request.url)
  if not base then complain("url %s", path) end
  local body, is_json = body_of(host, request)
  local method = request.method or (request.body ~= nil and "POST" or "GET")
  if not METHODS[method] then complain("method must be GET, POST, PUT, PATCH or DELETE") end
  return base, path, method, headers_of(host, request, is_json), body,
    number(request, "timeout", DEFAULT_TIMEOUT, MAX_TIMEOUT),
    number(request, "max", DEFAULT_MAX, MAX_MAX)
end

--- weir.fetch itself.
---@param host table
---@return fun(request: table|string): table|nil, table|nil
function fetch.new(host)
  return function(request)
    host.fetch(check(host, request)) -- yields
    local status, headers, body = host.fetched()
    if not status then return nil, { code = headers, message = body } end
    return { status = status, headers = headers, body = body }
  end
end

--- An entry of policy.fetch, or nil and what is wrong with it.
---@param entry any a URL without a path, or { URL, private = true }
---@return table|nil, string|nil
function fetch.read_host(entry)
  local text, is_private = entry, false
  if type(entry) == "table" then
    text, is_private = entry[1], entry.private == true
    for name, value in pairs(entry) do
      if name == "private" then
        if type(value) ~= "boolean" then return nil, "private must be a boolean" end
      elseif name ~= 1 then
        return nil, "has the unknown member " .. tostring(name)
      end
    end
  end
  if type(text) ~= "string" then return nil, 'must be a string like "https://hooks.example"' end
  local base, path = fetch.split(text)
  if not base then return nil, path end
  if path ~= "/" then return nil, "must end with its host and port: no path" end
  return { base = base, private = is_private }
end

return fetch
