-- docs/openapi.yaml against the server: every path and method that it describes answers as
-- described, and the server has no other.

local http = require("spec.support.http")
local openai = require("spec.support.openai")
local schema = require("spec.support.schema")
local world = require("spec.support.world")
local yaml = require("spec.support.yaml")

local file = assert(io.open("docs/openapi.yaml"))
local document = yaml.read(file:read("*a"))
file:close()

local TOKEN = "admin-token-0123456789"

--- What the examples ask with a body.
local bodies = { ["POST /explain"] = '{"model":"default"}', ["POST /reload"] = "",
  ["POST /rollback"] = "" }

describe("docs/openapi.yaml", function()
  local w, gateway, port

  setup(function()
    w = world.new()
    local first = w:upstream("first")
    gateway = w:gateway { env = { TOKEN = TOKEN }, provider = { ["*"] =
      'key = weir.env "KEY", headers = { ["x-team"] = "search" }, limits = { rpm = 10 }' },
      more = '  workers = 1, keys = { weir.env "KEY" }, '
        .. 'admin = { listen = "127.0.0.1:0", token = weir.env "TOKEN" },' }
    port = tonumber(gateway:log():match("event=admin_listening address=127%.0%.0%.1:(%d+)"))
    -- so that there are limits, one of them with a cooldown, to be shown
    gateway:chat { headers = { Authorization = "Bearer provider-key" } }
    first:answer(429, openai.failure("slow down"), { ["retry-after"] = "60" })
    gateway:wait_log("event=cooldown")
  end)
  teardown(function() w:close() end)

  local function ask(method, path, headers, body)
    local all = { { "Host", "127.0.0.1" } }
    for name, value in pairs(headers or {}) do all[#all + 1] = { name, value } end
    if not (headers or {}).Authorization then all[#all + 1] = "Authorization: Bearer " .. TOKEN end
    if method == "POST" then all[#all + 1] = { "Content-Length", #(body or "") } end
    local client = http.connect(port)
    client:send(http.message(method .. " " .. path .. " HTTP/1.1", all, body))
    local response = client:read_response()
    client:close()
    return response
  end

  --- Raises where the response is not among those that are described.
  local function hold(response, described, name)
    local one = described[tostring(response.status)]
    assert(one, ("%s: %d is not described: %s"):format(name, response.status, response.body))
    if one["$ref"] then
      one = document.components.responses[one["$ref"]:match("[^/]+$")]
    end
    local content = one.content[response.headers["content-type"]]
    assert(content, name .. ": " .. response.headers["content-type"] .. " is not described")
    if response.json then schema.check(content.schema, response.json, name, document) end
  end

  for path, methods in pairs(document.paths) do
    for method, operation in pairs(methods) do
      local name = method:upper() .. " " .. path
      it("describes what " .. name .. " answers", function()
        hold(ask(method:upper(), path, {}, bodies[name]), operation.responses, name)
      end)
    end
  end

  it("describes a reload that is refused, and a rollback to nothing", function()
    gateway:write("weir.lua", "return 1")
    local response = ask("POST", "/reload", {}, "")
    assert.equal(409, response.status)
    hold(response, document.paths["/reload"].post.responses, "POST /reload")
    hold(ask("GET", "/status"), document.paths["/status"].get.responses, "GET /status")
  end)

  it("describes a model that nobody serves", function()
    local response = ask("POST", "/explain", {}, '{"model":"nobody"}')
    assert.equal(404, response.status)
    hold(response, document.paths["/explain"].post.responses, "POST /explain")
  end)

  it("has every route of the server, and no other", function()
    local served, described = {}, {}
    for method, path in ask("GET", "/").json.error:gmatch("(%u+) (/[^%s,]*)") do
      served[method .. " " .. path] = true
    end
    for path, methods in pairs(document.paths) do
      for method in pairs(methods) do described[method:upper() .. " " .. path] = true end
    end
    assert.same(described, served)
  end)

  it("describes what is refused", function()
    local responses = document.components.responses
    local refused = {
      Unauthorized = ask("GET", "/health", { Authorization = "Bearer wrong" }),
      NotFound = ask("GET", "/nowhere"),
      MethodNotAllowed = ask("GET", "/reload"),
      Forbidden = ask("GET", "/health", { Origin = "http://a.example" }),
    }
    for name, response in pairs(refused) do
      hold(response, { [tostring(response.status)] = responses[name] }, name)
    end
    assert.equal(401, refused.Unauthorized.status)
    assert.equal(404, refused.NotFound.status)
    assert.equal(405, refused.MethodNotAllowed.status)
    assert.equal("GET, POST", refused.MethodNotAllowed.headers.allow)
    assert.equal(403, refused.Forbidden.status)
  end)
end)
