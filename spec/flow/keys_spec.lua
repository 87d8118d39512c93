-- Virtual keys: made, shown, limited, changed and taken away while the gateway runs.

local cjson = require("cjson")
local ledger = require("spec.support.ledger")
local libc = require("spec.support.libc")
local process = require("spec.support.process")
local support = require("spec.support.gateway")
local world = require("spec.support.world")

describe("virtual keys", function()
  local w, first, gateway

  before_each(function()
    w = world.new()
    first = w:upstream("first")
    gateway = w:gateway { more = ledger.CONFIG }
  end)
  after_each(function() w:close() end)

  local function ask(headers, members)
    return gateway:request { body = ledger.request(members), headers = headers }
  end

  local function serve(headers, members)
    local client = ask(headers, members)
    first:answer(200, ledger.answer(10, 5), { Connection = "close" })
    return client:read_response()
  end

  local function refusal(headers, members)
    local response = ask(headers, members):read_response()
    return response.status, cjson.decode(response.body).error, response
  end

  it("are printed once, have 160 random bits, and are kept as a digest", function()
    local _, key = ledger.key(gateway, "alice")
    assert.matches("^wk%-[a-z2-9]+$", key)
    assert.is_true((#key - 3) * 5 >= 160)
    local _, shown = ledger.run(gateway, "keys", "show", "alice")
    assert.is_nil(shown:find(key, 1, true))
    assert.matches("prefix%s+" .. key:sub(1, 7):gsub("%p", "%%%0"), shown)
    for name in require("lfs").dir(gateway.folder .. "/data") do
      local file = io.open(gateway.folder .. "/data/" .. name, "rb")
      local text = file and file:read("*a") or ""
      if file then file:close() end
      assert.is_nil(text:find(key, 1, true), name)
    end
    assert.equal("rw-------", require("lfs").attributes(gateway.folder .. "/data/ledger.db",
      "permissions"))
    assert.is_nil(gateway:log():find(key, 1, true))
  end)

  it("let in whoever has one", function()
    local headers = ledger.key(gateway, "alice")
    assert.equal(200, serve(headers).status)
    assert.truthy(gateway:wait_log("event=request", "key=alice", "status=200"))
  end)

  it("answer unknown, expired and revoked ones alike", function()
    local headers = ledger.key(gateway, "alice")
    local old = ledger.key(gateway, "old", "--expires", "0s")
    assert.equal(0, (ledger.run(gateway, "keys", "revoke", "alice")))
    local seen = {}
    for _, one in ipairs { { authorization = "Bearer wk-unknown" }, headers, old } do
      local status, err, response = refusal(one)
      seen[#seen + 1] = { status, err, response.headers["content-length"] }
      assert.equal(401, status)
      assert.equal("invalid_api_key", err.code)
      assert.equal("Bearer", response.headers["www-authenticate"])
    end
    assert.same(seen[1], seen[2])
    assert.same(seen[1], seen[3])
    assert.equal(401, (refusal(nil)))
    assert.is_false(first:is_asked())
  end)

  it("show what they may as it was given", function()
    ledger.key(gateway, "alice", "--budget", "50usd/month", "--soft", "80%", "--tpm", "100k",
      "--label", "env=prod")
    local _, text = ledger.run(gateway, "keys", "show", "alice")
    for _, line in ipairs { "soft        80%", "budget      $50.00/month", "tpm         100k",
      "labels      env=prod" } do
      assert.matches("\n" .. line .. "\n", text, 1, true)
    end
  end)

  it("are in force in all workers when the command returns", function()
    gateway:write("weir.lua", w:config { more = ledger.CONFIG:gsub("workers = 1", "workers = 3") })
    gateway:reload(2)
    local headers = ledger.key(gateway, "alice")
    for _ = 1, 6 do assert.equal(200, serve(headers).status) end
    ledger.ask(gateway, "keys", "revoke", "alice")
    for _ = 1, 6 do assert.equal(401, (refusal(headers))) end
  end)

  it("work on for a time after they were changed for new ones", function()
    local old = ledger.key(gateway, "alice")
    local added = ledger.ask(gateway, "keys", "rotate", "alice", "--grace", "1h")
    local new = { authorization = "Bearer " .. added.key }
    assert.equal(200, serve(old).status)
    assert.equal(200, serve(new).status)
    added = ledger.ask(gateway, "keys", "rotate", "alice", "--grace", "0s")
    assert.equal(401, (refusal(old)))
    assert.equal(401, (refusal(new)))
    assert.equal(200, serve({ authorization = "Bearer " .. added.key }).status)
  end)

  it("serve the models that they name", function()
    local headers = ledger.key(gateway, "alice", "--models", "fast")
    local status, err = refusal(headers)
    assert.equal(403, status)
    assert.same({ "model_not_allowed", "model" }, { err.code, err.param })
    assert.matches("the key 'alice' may not ask for the model 'default'; GET /v1/models lists",
      err.message, 1, true)
    ledger.ask(gateway, "keys", "set", "alice", "--models", "fast,default")
    assert.equal(200, serve(headers).status)
    ledger.ask(gateway, "teams", "add", "search", "--models", "fast")
    ledger.ask(gateway, "keys", "set", "alice", "--team", "search")
    status, err = refusal(headers)
    assert.equal(403, status)
    assert.matches("the team 'search' may not ask for the model 'default'", err.message, 1, true)
  end)

  it("are told the models that they and their team may ask for", function()
    gateway:write("weir.lua", w:config { more = ledger.CONFIG, models = [[
      default = waterfall { "first/m" },
      fast = waterfall { "first/m" },
      large = waterfall { "first/m" },
      ["*"] = waterfall { "first/*" },]] })
    gateway:reload(2)
    ledger.ask(gateway, "teams", "add", "--name", "search", "--models", "large,fast,other")
    local function told(headers)
      local response = gateway:request { path = "/v1/models", headers = headers }:read_response()
      local ids = {}
      for i, model in ipairs(response.json.data) do ids[i] = model.id end
      return table.concat(ids, " ")
    end
    local function status_of(name, headers)
      return gateway:request { path = "/v1/models/" .. name, headers = headers }:read_response()
        .status
    end
    local alice = ledger.key(gateway, "alice", "--models", "fast,default")
    assert.equal("default fast", told(alice))
    assert.same({ 200, 404, 404 }, { status_of("fast", alice), status_of("large", alice),
      status_of("none", alice) })
    assert.equal("default fast large", told(ledger.key(gateway, "bob")))
    assert.equal("fast large", told(ledger.key(gateway, "carol", "--team", "search")))
    assert.equal("fast", told(ledger.key(gateway, "dave", "--team", "search", "--models",
      "fast,default")))
    assert.equal("", told(ledger.key(gateway, "eve", "--models", "other")))
    ledger.ask(gateway, "keys", "set", "alice", "--models", "any")
    assert.equal("default fast large", told(alice))
  end)

  it("are wanted of who asks for models", function()
    local headers = ledger.key(gateway, "alice")
    ledger.ask(gateway, "keys", "revoke", "alice")
    for _, path in ipairs { "/v1/models", "/v1/models/default", "/openai/v1/models" } do
      for _, one in ipairs { {}, { authorization = "Bearer wk-unknown" }, headers } do
        local response = gateway:request { path = path, headers = one }:read_response()
        assert.equal(401, response.status)
        assert.equal("invalid_api_key", response.json.error.code)
        assert.equal("authentication_error", response.json.error.type)
      end
    end
  end)

  it("make so many requests a minute, their team's among them", function()
    ledger.ask(gateway, "teams", "add", "--name", "search", "--rpm", "3")
    local alice = ledger.key(gateway, "alice", "--team", "search", "--rpm", "2")
    local bob = ledger.key(gateway, "bob", "--team", "search")
    serve(alice)
    serve(alice)
    local status, err, response = refusal(alice)
    assert.equal(429, status)
    assert.matches("the key 'alice' may have 2 requests a minute", err.message, 1, true)
    assert.is_true(tonumber(response.headers["retry-after"]) <= 62)
    assert.is_nil(response.headers["x-should-retry"])
    serve(bob)
    status, err = refusal(bob)
    assert.equal(429, status)
    assert.matches("the team 'search' may have 3", err.message, 1, true)
  end)

  it("tell who has one what is left of it, its team's budget considered", function()
    ledger.ask(gateway, "teams", "add", "search", "--budget", "0.5usd/day")
    local alice = ledger.key(gateway, "alice", "--team", "search", "--rpm", "60", "--budget",
      "50usd/month", "--expires", "90d")
    assert.equal(200, serve(alice).status)
    local function told(headers)
      local response = gateway:request { path = "/v1/key", headers = headers }:read_response()
      assert.equal(200, response.status)
      return cjson.decode(response.body)
    end
    local key = told(alice)
    local shown = ledger.ask(gateway, "keys", "show", "alice")
    assert.same({ "key", "alice", "search", 60, 50, "month" },
      { key.object, key.name, key.team, key.rpm, key.budget_usd, key.period })
    assert.equal(shown.spent, math.floor(key.spent_usd * 1e6 + 0.5))
    assert.equal(500000 - shown.spent, math.floor(key.left_usd * 1e6 + 0.5))
    assert.matches("^%d+%-%d+%-01T00:00:00Z$", key.renews)
    assert.matches("^%d+%-%d+%-%d+T", key.expires)
    local bob = told(ledger.key(gateway, "bob"))
    for _, name in ipairs { "team", "rpm", "tpm", "concurrent", "budget_usd", "period", "left_usd",
      "renews", "expires" } do
      assert.equal(cjson.null, bob[name], name)
    end
    assert.equal(0, bob.spent_usd)
    assert.equal(401, gateway:request { path = "/v1/key" }:read_response().status)
  end)

  it("leave a row of what was refused, one a second, which says what was in the way", function()
    local bob = ledger.key(gateway, "bob", "--rpm", "1")
    local carol = ledger.key(gateway, "carol", "--models", "fast")
    assert.equal(200, serve(bob).status)
    local began = libc.now()
    for _ = 1, 9 do assert.equal(429, (refusal(bob))) end
    local most = math.min(8, math.floor(libc.now() - began) + 2)
    assert.equal(403, (refusal(carol)))
    local list = ledger.ask(gateway, "requests", "--key", "bob", "--status", "429").requests
    assert.is_true(#list >= 1 and #list <= most, #list .. " rows")
    assert.same({ "key_rpm", "default", 0, 0 }, { list[1].code, list[1].model, list[1].cost,
      list[1].attempts })
    assert.equal("key_model", ledger.ask(gateway, "requests", "--key", "carol").requests[1].code)
    local shown = ledger.ask(gateway, "keys", "show", "bob")
    assert.same({ 0, 0 }, { shown.in_flight, shown.reserved })
    assert.truthy(gateway:wait_log("event=request", "code=rate_limit_exceeded",
      "the key 'bob' may have 1 request a minute"))
  end)

  it("make so many tokens a minute, however many a request says that it wants", function()
    local headers = ledger.key(gateway, "alice", "--tpm", "1000")
    local client = ask(headers, { max_tokens = 1000000000, n = 3 })
    first:answer(200, ledger.answer(500, 400), { Connection = "close" })
    assert.equal(200, client:read_response().status)
    local status, err = refusal(headers)
    assert.equal(429, status)
    assert.matches("1000 tokens a minute", err.message, 1, true)
  end)

  it("have so many requests under way at once", function()
    local headers = ledger.key(gateway, "alice", "--concurrent", "1")
    local client = ask(headers)
    local connection = first:take()
    assert.equal(429, (refusal(headers)))
    connection:respond(200, ledger.answer(1, 1), { Connection = "close" })
    client:read_response()
    assert.equal(200, serve(headers).status)
  end)

  it("show policies a name, a team, labels and what is left, and no key", function()
    gateway:write("weir.lua", w:config { more = ledger.CONFIG, models = [[
      default = function(req)
        return req:reply(200, { name = req.key.name, team = req.key.team, env = req.key.labels.env,
          left = req.key.budget_left, key = tostring(req.headers.authorization) })
      end,]] })
    gateway:reload(2)
    ledger.ask(gateway, "teams", "add", "--name", "search", "--budget", "2usd/day")
    local headers = ledger.key(gateway, "alice", "--team", "search", "--budget", "5usd/month",
      "--label", "env=prod")
    local said = cjson.decode(ask(headers):read_response().body)
    assert.same({ name = "alice", team = "search", env = "prod", left = 2, key = "nil" }, said)
  end)

  it("are what GET /config says the gateway has", function()
    local shown = cjson.decode(gateway:ask_admin("/config"))
    assert.equal("ledger", shown.keys)
    assert.equal(1, shown.prices["first-model"].input)
  end)

  it("say what is wrong with a command, and what was meant", function()
    ledger.key(gateway, "alice")
    local wrong = {
      { "no key is called 'alcie' (did you mean 'alice'?)", "keys", "show", "alcie" },
      { "--bugdet: no such option here (did you mean '--budget'?)", "keys", "add", "--name", "x",
        "--bugdet", "1usd" },
      { 'budget: must be like "50usd/month"', "keys", "set", "alice", "--budget", "50" },
      { 'rpm: must be a whole number such as 60, "100k"', "keys", "set", "alice", "--rpm", "many" },
      { "2m\", 1000m at most", "keys", "set", "alice", "--concurrent", "3000m" },
      { "labels: has env twice", "keys", "set", "alice", "--label", "env=a", "--label", "env=b" },
      { 'soft: must be a share such as "80%"', "keys", "set", "alice", "--soft", "nan" },
      { "name: a key needs one", "keys", "add", "--rpm", "5" },
      { "a key is called 'alice' already", "keys", "add", "--name", "alice" },
      { "no team is called 'x'", "keys", "set", "alice", "--team", "x" },
      { "name: 'none' is what is said of keys", "teams", "add", "none" },
      { "nothing is summed by 'keys'", "usage", "--by", "keys" },
      { "since: must be a time ago", "usage", "--since", "yesterdya" },
      { "expires: '2020-01-31' is past", "keys", "set", "alice", "--expires", "2020-01-31" },
      { "--bye: no such option here (did you mean '--by'?)", "usage", "--bye", "key" },
      { "limit: must be a whole number from 1 to 1000", "requests", "--limit", "x" },
      { "status: must be a whole number from 0 to 599", "requests", "--status", "abc" },
      { "before: must be what an answer gave as next", "requests", "--before", "x" },
      { "--rpm: no such option here; none is taken", "keys", "show", "alice", "--rpm", "5" },
      { "--grace: no such option here; none is taken", "keys", "revoke", "alice", "--grace", "1h" },
      { "no request of that id is in the ledger", "requests", "req_x" },
    }
    for _, one in ipairs(wrong) do
      local status, text = ledger.run(gateway, unpack(one, 2))
      local is_asked_rightly = one[1]:find("^no ") or one[1]:find("already", 1, true)
      assert.equal(is_asked_rightly and 1 or 2, status, text)
      assert.matches(one[1], text, 1, true)
    end
  end)

  it("say what is wrong with a command line, in two lines, and ask nobody", function()
    local wrong = {
      { "what is to be done? there are add, list, show, set, rotate, revoke", "keys" },
      { "there is no 'mend'; there are add", "keys", "mend", "x" },
      { "there is no 'delete' (did you mean 'revoke'?)", "keys", "delete", "x" },
      { "there is no 'lst' (did you mean 'list'?)", "keys", "lst" },
      { "there is no 'revoke'; there are add, list, show, set\n", "teams", "revoke", "x" },
      { "there is no 'rm'; there are add, list, show, set\n", "teams", "rm", "x" },
      { "show whom? weir keys show NAME", "keys", "show" },
      { "set what? weir keys set alice --budget 50usd/month", "keys", "set", "alice" },
      { "list takes no name; weir keys show alice shows one", "keys", "list", "alice" },
      { "'bob' is one word too many", "keys", "add", "alice", "bob" },
      { "'key' is one word too many", "usage", "key" },
      { "options begin with --, not as '-n'", "keys", "add", "-n", "alice" },
      { "--csv or --json, not both", "usage", "--csv", "--json" },
      { "--csv goes with lists", "keys", "show", "alice", "--csv" },
      { "--texts goes with the id of a request", "requests", "--texts" },
      { "no command is called 'key' (did you mean 'keys'?)", "key" },
      { "no command is called 'usgae' (did you mean 'usage'?)", "usgae" },
      { "no command is called 'frobnicate'\nweir --help lists them", "frobnicate" },
    }
    for _, one in ipairs(wrong) do
      local status, text = ledger.run(gateway, unpack(one, 2))
      assert.equal(2, status, text)
      assert.matches(one[1], text, 1, true)
      assert.matches("^[^\n]+\n[^\n]+ %-%-help [^\n]+\n$", text)
    end
    local command = process.start(support.command("keys", "add", "alice", "--rpm"))
    assert.equal(2, command:wait())
    assert.matches("--rpm lacks its value", command.text.err, 1, true)
  end)

  it("take a name without --name, and a value behind =", function()
    local added = ledger.ask(gateway, "keys", "add", "alice", "--rpm=60", "--label=a=b=c")
    assert.same({ "alice", 60, { a = "b=c" } }, { added.name, added.rpm, added.labels })
  end)

  it("remark on models that there are not, as they may come later", function()
    local note = "weir: note: weir.lua has no model '%s' now; there are \"default\"\n"
    local function remark(...)
      local status, text = ledger.run(gateway, ...)
      assert.equal(0, status)
      return text:match("weir: note.*")
    end
    assert.equal(note:format("defualt"), remark("keys", "add", "alice", "--models",
      "default,defualt"))
    assert.is_nil(remark("teams", "add", "search", "--models=default"))
    assert.is_nil(remark("keys", "set", "alice", "--models", "any"))
    gateway:write("weir.lua", w:config { more = ledger.CONFIG,
      models = '["*"] = waterfall { "first/*" },' })
    gateway:reload(2)
    assert.is_nil(remark("keys", "set", "alice", "--models", "whatever"))
  end)

  it("say that an answer broke off", function()
    local folder = support.folder {}
    local script = "require('net').createServer(s => s.on('data', () => s.end()))"
      .. ".listen(process.argv[1], () => console.log('there'))"
    local server = process.start { "node", "-e", script, folder .. "/s" }
    server:wait_for("out", function(text) return text:find("there") end, "the server")
    local command = process.start(support.command("usage", "--socket", folder .. "/s"))
    assert.equal(1, command:wait())
    assert.matches("the answer from " .. folder:gsub("%p", "%%%0") .. "/s broke off",
      command.text.err)
    server:kill()
    support.remove_folder(folder)
  end)

  it("say what helps where no gateway answers", function()
    local function ask_nobody(...)
      local command = process.start(support.command("keys", "list", ...))
      assert.equal(1, command:wait())
      return command.text.err
    end
    assert.matches("no gateway answers at /nowhere/s: No such file or directory\n.*%-%-config FILE",
      ask_nobody("--socket", "/nowhere/s"))
    assert.matches("there is no file /nowhere/weir.lua", ask_nobody("--config",
      "/nowhere/weir.lua"), 1, true)
  end)

  it("are listed as a table and as CSV", function()
    ledger.key(gateway, "alice", "--models", "default,fast", "--budget", "1usd/day")
    local _, text = ledger.run(gateway, "keys", "list")
    assert.matches("alice%s+wk%-%w+%s+active%s+%-%s+default,fast%s[%s-]+%$1.00/day", text)
    _, text = ledger.run(gateway, "keys", "list", "--csv")
    assert.matches('\r\nalice,wk%-%w+,active,,"default,fast",,,,1000000,day,0,0,', text)
  end)

  it("lose their labels and soft limit by none", function()
    ledger.key(gateway, "alice", "--budget", "1usd", "--soft", "50%", "--label", "env=prod")
    ledger.ask(gateway, "keys", "set", "alice", "--soft", "none", "--label", "none")
    local shown = ledger.ask(gateway, "keys", "show", "alice")
    assert.same({ {} }, { shown.labels, shown.soft })
  end)

  it("outlive the gateway", function()
    local headers = ledger.key(gateway, "alice", "--rpm", "7")
    gateway:stop()
    local old = gateway
    gateway = w:gateway { more = ledger.CONFIG .. ('data = %q,'):format(old.folder .. "/data") }
    assert.equal(200, serve(headers).status)
    assert.equal(7, ledger.ask(gateway, "keys", "show", "alice").rpm)
  end)

  it("are let in while the clerk is dead, and the next one knows what was used", function()
    local headers = ledger.key(gateway, "alice")
    libc.C.kill(ledger.clerk(gateway), libc.SIGKILL)
    assert.equal(200, serve(headers).status)
    gateway:wait_log("event=clerk_died", "signal=9")
    assert.truthy(gateway:ask_admin("/metrics"):find("\nweir_clerk_deaths_total 1\n", 1, true))
    local deadline = libc.deadline()
    local status, text
    repeat status, text = ledger.run(gateway, "requests", "--json")
    until status == 0 or libc.now() > deadline
    assert.equal(1, #cjson.decode(text).requests)
    assert.truthy(gateway:ask_admin("/metrics"):find("\nweir_clerk_up 1\n", 1, true))
  end)
end)

describe("a gateway without a ledger", function()
  it("says so to whoever asks for keys", function()
    local w = world.new()
    w:upstream("first")
    local status, text = ledger.run(w:gateway(), "keys", "list")
    w:close()
    assert.equal(1, status)
    assert.matches("keeps no ledger", text, 1, true)
  end)
end)
