-- docs/openapi.yaml against the server: every path and method that it describes answers as
-- described, and the server has no other.

local described = require("spec.support.described")
local openai = require("spec.support.openai")
local world = require("spec.support.world")

local document, hold = described.document, described.hold

--- What the examples ask with a body.
local bodies = { ["POST /explain"] = '{"model":"default"}', ["POST /reload"] = "",
  ["POST /rollback"] = "" }

--- What openapi_ledger_spec.lua looks at, where there is a ledger.
local is_clerks = {}
for _, route in ipairs(require("weir.clerk_routes")) do
  is_clerks[route[1] .. " " .. route[2]] = true
end

describe("docs/openapi.yaml", function()
  local w, gateway, port

  setup(function()
    w = world.new()
    local first = w:upstream("first")
    gateway = w:gateway { env = { TOKEN = described.TOKEN }, provider = { ["*"] =
      'key = weir.env "KEY", headers = { ["x-team"] = "search" }, limits = { rpm = 10 }' },
      more = '  workers = 1, keys = { weir.env "KEY" }, '
        .. 'admin = { listen = "127.0.0.1:0", token = weir.env "TOKEN" },' }
    port = described.port(gateway)
    -- so that there are limits, one of them with a cooldown, to be shown
    gateway:chat { headers = { Authorization = "Bearer provider-key" } }
    first:answer(429, openai.failure("slow down"), { ["retry-after"] = "60" })
    gateway:wait_log("event=cooldown")
  end)
  teardown(function() w:close() end)

  local function ask(...) return described.ask(port, ...) end

  for _, one in ipairs(described.operations()) do
    -- without a ledger, those that are about it answer 409
    it("describes what " .. one.name .. " answers", function()
      hold(ask(one.method, (one.path:gsub("[{}]", "")), {}, bodies[one.name]),
        one.operation.responses, one.name)
    end)
  end

  for _, one in ipairs(described.operations()) do
    if not is_clerks[one.name] then
      it("describes that " .. one.name .. " refuses a parameter that it does not know", function()
        local known = (one.operation.parameters or {})[1]
        local response = ask(one.method, one.path .. "?wiat=1", {}, bodies[one.name])
        assert.equal(400, response.status)
        hold(response, one.operation.responses, one.name)
        assert.equal(("wiat: no such parameter here; %s is taken"):format(known and "only "
          .. known.name or "none"), response.json.error)
        if known then
          response = ask(one.method, one.path .. "?" .. known.name .. "=1", {}, bodies[one.name])
          assert.equal(200, response.status)
        end
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
    local served, known = {}, {}
    for method, path in ask("GET", "/").json.error:gmatch("(%u+) (/[^%s,]*)") do
      served[method .. " " .. path] = true
    end
    for name in pairs(is_clerks) do served[name] = true end
    for _, one in ipairs(described.operations()) do known[one.name] = true end
    assert.same(known, served)
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
    assert.equal("POST", refused.MethodNotAllowed.headers.allow)
    assert.equal(403, refused.Forbidden.status)
  end)
end)
