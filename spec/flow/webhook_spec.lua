-- Whom the gateway tells that a budget runs low, and that it is spent: the log, the metrics, a
-- webhook.

local cjson = require("cjson")
local ledger = require("spec.support.ledger")
local upstream = require("spec.support.upstream")
local world = require("spec.support.world")

local CLOSE = { Connection = "close" }

describe("a webhook", function()
  local w, first, hook, gateway

  before_each(function()
    w = world.new()
    first = w:upstream("first")
    hook = upstream.new()
  end)
  after_each(function()
    hook:close()
    w:close()
  end)

  local function place() return ("http://127.0.0.1:%d/hooks/T0K3N?v=1"):format(hook.port) end

  --- A gateway with that webhook, as Lua.
  local function start(webhook, options)
    options = options or {}
    options.more = ledger.CONFIG:gsub("workers = 1", options.workers or "workers = 1")
      .. (webhook and ("ledger = { webhook = %s },"):format(webhook) or "") .. (options.also or "")
    gateway = w:gateway(options)
  end

  local function start_plain(options)
    start(("{ url = %q, private = true }"):format(place()), options)
  end

  local function ask(headers, members)
    return gateway:request { body = ledger.request(members), headers = headers }
  end

  --- So many micro-dollars.
  local function spend(headers, micro)
    local client = ask(headers)
    first:answer(200, ledger.answer(micro, 0), CLOSE)
    return client:read_response().status
  end

  --- Until alice's budget says so, which is after the answer.
  local function wait_spent(micro)
    local deadline, shown = os.time() + 20
    repeat shown = ledger.ask(gateway, "keys", "show", "alice")
    until shown.spent == micro and shown.reserved == 0 or os.time() > deadline
    assert.same({ micro, 0 }, { shown.spent, shown.reserved })
  end

  --- The next message, which is answered.
  local function told(status)
    local connection, request = hook:take()
    connection:respond(status or 200, "ok", CLOSE)
    return cjson.decode(request.body), request
  end

  local function metric(line)
    return gateway:ask_admin("/metrics"):match("\n" .. line:gsub("%p", "%%%0") .. " (%d+)\n")
  end

  local function alice(...)
    return ledger.key(gateway, "alice", "--budget", "0.01usd/month", "--soft", "50%", ...)
  end

  it("is told once that a key is past its soft limit, and once that it is refused", function()
    start_plain { workers = "workers = 3" }
    ledger.ask(gateway, "teams", "add", "--name", "search")
    local headers = alice("--team", "search")
    for _ = 1, 6 do assert.equal(200, spend(headers, 1000)) end
    local low, request = told()
    assert.equal("/hooks/T0K3N?v=1", request.path)
    assert.equal("application/json", request.headers["content-type"])
    assert.same({ "budget_low", "key", "alice", "search", 5000, 10000, "month" }, { low.event,
      low.scope, low.key, low.team, low.spent, low.budget, low.period })
    assert.matches("^%d%d%d%d%-%d%d%-01T00:00:00Z$", low.renews)
    assert.equal("Weir: the key 'alice' has spent $0.005 of $0.01 a month; it renews at "
      .. low.renews, low.text)
    for _ = 1, 4 do spend(headers, 1000) end
    wait_spent(10000)
    for _ = 1, 3 do assert.equal(429, ask(headers):read_response().status) end
    local gone = told()
    assert.same({ "budget_spent", 10000 }, { gone.event, gone.spent })
    assert.matches("requests of the key 'alice' are refused: it has spent $0.01 of $0.01 a month",
      gone.text, 1, true)
    gateway:wait_log("event=budget_low", "scope=key", "name=alice", "spent=5000", "budget=10000")
    gateway:wait_log("event=budget_spent", "name=alice")
    assert.equal("1", metric('weir_budget_soft_total{scope="key"}'))
    assert.equal("1", metric('weir_budget_spent_total{scope="key"}'))
    assert.equal("0", metric('weir_budget_soft_total{scope="team"}'))
    assert.equal("3", metric('weir_key_refused_total{limit="budget",scope="key"}'))
    gateway:stop()
    assert.is_false(hook:is_asked())
  end)

  it("is told of a team, and again when its budget is set anew", function()
    start_plain()
    ledger.ask(gateway, "teams", "add", "--name", "search", "--budget", "0.01usd", "--soft", "50%")
    local headers = ledger.key(gateway, "alice", "--team", "search")
    spend(headers, 6000)
    local low = told()
    assert.same({ "team", "search", "total" }, { low.scope, low.team, low.period })
    assert.is_nil(low.key)
    assert.is_nil(low.renews)
    ledger.ask(gateway, "teams", "set", "search", "--budget", "0.02usd")
    spend(headers, 3000) -- 9000 of 20000
    spend(headers, 3000)
    assert.equal(12000, told().spent)
    assert.equal("2", metric('weir_budget_soft_total{scope="team"}'))
  end)

  it("is not told of a request that no budget of that size could serve", function()
    start_plain()
    local headers = alice()
    assert.equal(429, ask(headers, { max_tokens = 100000 }):read_response().status)
    spend(headers, 5000)
    assert.equal("budget_low", told().event)
    assert.equal("0", metric('weir_budget_spent_total{scope="key"}'))
  end)

  it("is told though the worker that was at it is killed", function()
    start_plain { workers = "workers = 2" }
    spend(alice(), 5000)
    local connection, request = hook:take()
    ledger.kill_workers(gateway)
    local _, again = told()
    assert.equal(request.body, again.body)
    connection:close()
    assert.equal("1", metric('weir_budget_soft_total{scope="key"}'))
  end)

  it("is told again when it is not well, and given up when it wants no more", function()
    start_plain()
    local headers = alice()
    spend(headers, 5000)
    assert.same((told(503)), (told(404)))
    local line = gateway:wait_log("event=webhook_failed", "of=budget_low", "tries=2", "status=404")
    assert.is_nil(line:find("T0K3N", 1, true))
    assert.equal("1", metric('weir_webhook_total{result="failed"}'))
    spend(headers, 5000)
    wait_spent(10000)
    ask(headers):read_response()
    assert.equal("budget_spent", told().event)
  end)

  it("holds up no request, however long it takes", function()
    start_plain()
    local headers = alice()
    spend(headers, 5000)
    hook:take()
    for _ = 1, 3 do assert.equal(200, spend(headers, 10)) end
  end)

  it("may be a secret, with headers that are some, and neither is shown", function()
    start([[{ url = weir.env "HOOK", headers = { authorization = weir.env "HOOK_AUTH" },
      private = true }]], { env = { HOOK = place(), HOOK_AUTH = "Bearer S3CR3T" } })
    spend(alice(), 5000)
    local _, request = told()
    assert.same({ "/hooks/T0K3N?v=1", "Bearer S3CR3T" }, { request.path,
      request.headers.authorization })
    local text = gateway:ask_admin("/config")
    assert.same({ url = { secret = 'weir.env "HOOK"' }, headers = { "authorization" },
      private = true }, cjson.decode(text).ledger.webhook)
    for _, shown in ipairs { text, gateway:log() } do
      assert.is_nil(shown:find("T0K3N", 1, true))
      assert.is_nil(shown:find("S3CR3T", 1, true))
    end
  end)

  it("shows its server alone where it stands in the file", function()
    start_plain()
    local text = gateway:ask_admin("/config")
    assert.equal("http://127.0.0.1:" .. hook.port, cjson.decode(text).ledger.webhook.url)
    assert.is_nil(text:find("T0K3N", 1, true))
  end)

  it("on a private network is told nothing unless the configuration says so", function()
    start(("%q"):format(place()))
    local headers = alice()
    spend(headers, 5000)
    gateway:wait_log("event=budget_low")
    for _ = 1, 5 do spend(headers, 1) end
    gateway:stop()
    assert.is_false(hook:is_asked())
  end)

  it("follows a reload", function()
    start(nil)
    local headers = alice()
    gateway:write("weir.lua", w:config { more = ledger.CONFIG
      .. ("ledger = { webhook = { url = %q, private = true } },"):format(place()) })
    gateway:reload(2)
    spend(headers, 5000)
    assert.equal("budget_low", told().event)
  end)

  describe("is refused at load", function()
    local support = require("spec.support.gateway")
    local process = require("spec.support.process")

    for lua, problem in pairs {
      ['weir.env "NO_HOOK"'] = 'ledger.webhook: weir.env "NO_HOOK" is not set',
      ['weir.env "BAD_HOOK"'] = 'ledger.webhook: must begin with "http://" or "https://"',
      ['"hooks.example"'] = 'ledger.webhook.url: must begin with "http://" or "https://"',
      ["{ private = true }"] = "ledger.webhook.url: is missing",
      ['{ url = "https://h/", header = {} }'] = "ledger.webhook.header: unknown member (did you",
      ['{ url = "https://h/", headers = { Host = "x" } }'] =
        "ledger.webhook.headers.Host: is set by the gateway itself",
      ["5"] = "ledger.webhook.url: must be a URL, as a string or a secret, not a number",
    } do
      it("where it is " .. lua, function()
        local folder = support.folder { ["weir.lua"] = w:config { more = ledger.CONFIG
          .. ("ledger = { webhook = %s },"):format(lua) } }
        local child = process.start(support.command("check", folder .. "/weir.lua"),
          { KEY = "k", BAD_HOOK = "hooks.example/S3CR3T" })
        local status = child:wait(20)
        support.remove_folder(folder)
        assert.is_true(status ~= 0)
        assert.matches(problem, child.text.out .. child.text.err, 1, true)
        assert.is_nil((child.text.out .. child.text.err):find("S3CR3T", 1, true))
      end)
    end
  end)
end)
