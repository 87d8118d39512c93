-- A day with the team's example: keys are made, used, counted, spent and taken away. One gateway
-- serves all of it, in front of mocks, and each part goes on where the one before it ended.

local cjson = require("cjson")
local example = require("spec.support.example")
local http = require("spec.support.http")
local ledger = require("spec.support.ledger")
local lfs = require("lfs")
local process = require("spec.support.process")
local world = require("spec.support.world")

describe("a team", function()
  local w, served, alice, bob, key

  setup(function()
    w = world.new()
    local mocks = {}
    served = example.serve("team", function(name)
      mocks[name] = mocks[name] or w:mock(name, "--name", name, "--text", "Hello you")
      return mocks[name].url
    end)
  end)
  teardown(function()
    w:close()
    if served then served:discard() end
  end)

  local function ask(path, body, headers)
    local client = http.connect(served.port)
    local response = client:request { path = path, body = body, headers = headers }:read_response()
    client:close()
    return response
  end

  local function chat(headers, model, more)
    local body = { model = model, messages = { { role = "user", content = "Hello" } } }
    for name, value in pairs(more or {}) do body[name] = value end
    return ask("/v1/chat/completions", body, headers)
  end

  --- What the admin side says over its socket.
  local function admin(path)
    local command = process.start { "curl", "-sf", "--unix-socket",
      served.folder .. "/data/admin.sock", "http://weir" .. path }
    assert.equal(0, command:wait())
    return command.text.out
  end

  it("is given keys by its operator", function()
    ledger.ask(served, "teams", "add", "--name", "search", "--budget", "500usd/month")
    alice, key = ledger.key(served, "alice", "--team", "search", "--models", "default,fast",
      "--budget", "50usd/month", "--soft", "80%", "--label", "env=prod")
    bob = ledger.key(served, "bob", "--rpm", "60")
    local _, text = ledger.run(served, "keys", "list")
    assert.matches("alice +wk%-%w+ +active +search +default,fast", text)
    assert.is_nil(text:find(key, 1, true))
  end)

  it("is told the models that each may ask for", function()
    local function told(headers)
      local ids = {}
      for i, model in ipairs(ask("/v1/models", nil, headers).json.data) do ids[i] = model.id end
      return table.concat(ids, " ")
    end
    assert.equal("default fast", told(alice))
    assert.equal("default fast private", told(bob))
    assert.equal(401, ask("/v1/models").status)
  end)

  it("is served, plain and streamed, by the policies", function()
    assert.equal("groq/llama-3.3-70b-versatile", chat(alice, "default").headers["x-weir-target"])
    assert.equal("data: [DONE]\n\n", chat(alice, "fast", { stream = true }).body:sub(-14))
    assert.equal("desk/llama3.2", chat(bob, "private").headers["x-weir-target"])
    local refused = chat(alice, "private")
    assert.equal(403, refused.status)
    assert.equal("model_not_allowed", refused.json.error.code)
  end)

  it("is served with the official package", function()
    if not lfs.attributes("node_modules/openai") then return pending("npm ci has not been run") end
    local child = process.start({ "node", "examples/clients/ask.mjs" },
      { OPENAI_BASE_URL = ("http://127.0.0.1:%d/v1"):format(served.port), OPENAI_API_KEY = key })
    assert.equal(0, child:wait(), child.text.err)
    assert.equal("Hello you", child.text.out)
  end)

  it("sees what it used, by team and model", function()
    local sums = {}
    for _, row in ipairs(ledger.ask(served, "usage", "--by", "team,model").usage) do
      sums[row.team .. " " .. row.model] = row
    end
    assert.is_true(sums["search default"].requests >= 1)
    assert.is_true(sums["search default"].cost > 0)
    assert.equal(1, sums["search fast"].requests)
    assert.same({ 1, 0 }, { sums["- private"].requests, sums["- private"].cost })
    local _, text = ledger.run(served, "usage", "--by", "team,model")
    assert.matches("^TEAM +MODEL +REQUESTS", text)
    assert.matches("\nsearch +default +%d+ +0 ", text)
    local spent = sums["search default"].cost + sums["search fast"].cost
    assert.equal(spent, ledger.ask(served, "keys", "show", "alice").spent)
    assert.equal(spent, ledger.ask(served, "teams", "show", "search").spent)
  end)

  it("finds each request again", function()
    local list = ledger.ask(served, "requests", "--key", "alice", "--model", "fast").requests
    assert.equal(1, #list)
    local row = ledger.ask(served, "requests", list[1].id)
    assert.same({ "alice", "search", 200 }, { row.key, row.team, row.status })
    assert.equal(row.target, row.trail[1].target)
    assert.equal(row.cost, row.trail[1].cost)
  end)

  it("has metrics, without a name of a key", function()
    local text = admin("/metrics")
    local tokens = text:match('weir_model_tokens_total{gen_ai_request_model="default",'
      .. 'gen_ai_token_type="input"} (%d+)')
    assert.is_true(tonumber(tokens) > 0)
    assert.is_false(text:find("alice", 1, true) ~= nil)
    local cost, spent = 0, 0
    for dollars in text:gmatch("\nweir_model_cost_dollars_total{[^}]*} ([%d.e-]+)") do
      cost = cost + tonumber(dollars)
    end
    for _, row in ipairs(ledger.ask(served, "usage").usage) do spent = spent + row.cost end
    assert.is_true(math.abs(cost * 1e6 - spent) < 0.5)
    assert.equal("Europe/Berlin", cjson.decode(admin("/config")).ledger.timezone)
  end)

  it("is refused when the budget is spent, and told when it renews", function()
    ledger.ask(served, "keys", "set", "alice", "--budget", "0.000001usd/month")
    local refused = chat(alice, "default")
    assert.equal(429, refused.status)
    assert.equal("insufficient_quota", refused.json.error.code)
    -- at midnight in Berlin, by the clock of Greenwich
    assert.matches("budget of the key 'alice' is spent: %$0%.%d+ of %$0.000001; it renews at "
      .. "%d+%-%d+%-%d+T2[23]:00:00Z", refused.json.error.message)
    ledger.ask(served, "keys", "set", "alice", "--budget", "50usd/month")
    assert.equal(200, chat(alice, "default").status)
  end)

  it("loses a key that is revoked, and no other", function()
    ledger.ask(served, "keys", "revoke", "alice")
    assert.equal(401, chat(alice, "default").status)
    assert.equal(200, chat(bob, "default").status)
    local _, text = ledger.run(served, "keys", "list")
    assert.matches("alice +wk%-%w+ +revoked", text)
  end)

  it("leaves no key, prompt or provider's key in the log", function()
    assert.equal(0, served:stop())
    local log = served.child.text.err
    assert.is_truthy(log:find('"event":"request"', 1, true))
    for _, secret in ipairs { key, "Hello", example.KEYS.GROQ_API_KEY } do
      assert.is_nil(log:find(secret, 1, true))
    end
  end)
end)
