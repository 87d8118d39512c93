--- docs/openapi.yaml, and answers of the admin side held against it.

local http = require("spec.support.http")
local schema = require("spec.support.schema")
local yaml = require("spec.support.yaml")

local described = { TOKEN = "admin-token-0123456789", seen = {} }

local file = assert(io.open("docs/openapi.yaml"))
described.document = yaml.read(file:read("*a"))
file:close()

--- Each operation, in no order: "GET /keys" and what is said of it.
function described.operations()
  local list = {}
  for path, methods in pairs(described.document.paths) do
    for method, operation in pairs(methods) do
      list[#list + 1] = { name = method:upper() .. " " .. path, method = method:upper(),
        path = path, operation = operation }
    end
  end
  return list
end

--- What a $ref leads to; what is none, itself.
function described.follow(one)
  if not one["$ref"] then return one end
  local found = described.document
  for name in one["$ref"]:gmatch("[^#/]+") do found = assert(found[name], one["$ref"]) end
  return found
end

--- One request at the admin side's port.
function described.ask(port, method, path, headers, body)
  local all = { { "Host", "127.0.0.1" } }
  for name, value in pairs(headers or {}) do all[#all + 1] = { name, value } end
  if not (headers or {}).Authorization then
    all[#all + 1] = "Authorization: Bearer " .. described.TOKEN
  end
  if method == "POST" then all[#all + 1] = { "Content-Length", #(body or "") } end
  local client = http.connect(port)
  client:send(http.message(method .. " " .. path .. " HTTP/1.1", all, body))
  local response = client:read_response()
  client:close()
  return response
end

--- The port of a gateway's admin side.
function described.port(gateway)
  return tonumber(gateway:wait_log("event=admin_listening address=127.0.0.1:")
    :match("address=127%.0%.0%.1:(%d+)"))
end

--- Raises where the response is not among those; gives it.
function described.hold(response, responses, name)
  local one = responses[tostring(response.status)]
  assert(one, ("%s: %d is not described: %s"):format(name, response.status, response.body))
  local content = described.follow(one).content[response.headers["content-type"]]
  assert(content, name .. ": " .. response.headers["content-type"] .. " is not described")
  if response.json then
    schema.check(content.schema, response.json, name, described.document, described.seen)
  end
  return response
end

return described
