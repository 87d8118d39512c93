-- The ledger: what requests used and cost, and what budgets make of it.

local cjson = require("cjson")
local ledger = require("spec.support.ledger")
local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local world = require("spec.support.world")

local CLOSE = { Connection = "close" }

describe("the ledger", function()
  local w, first, gateway

  local function start(config)
    gateway = w:gateway(config or { more = ledger.CONFIG })
  end

  before_each(function()
    w = world.new()
    first = w:upstream("first")
  end)
  after_each(function() w:close() end)

  local function ask(headers, members)
    return gateway:request { body = ledger.request(members), headers = headers }
  end

  local function serve(headers, prompt, completion, members)
    local client = ask(headers, members)
    first:answer(200, ledger.answer(prompt, completion), CLOSE)
    return client:read_response()
  end

  local function show(name) return ledger.ask(gateway, "keys", "show", name) end

  local function rows(...) return ledger.ask(gateway, "requests", ...).requests end

  --- The latest request, with its attempts.
  local function latest() return ledger.ask(gateway, "requests", rows()[1].id) end

  it("has a row for a request, with what it used and cost", function()
    start()
    ledger.ask(gateway, "teams", "add", "--name", "search")
    local headers = ledger.key(gateway, "alice", "--team", "search")
    local client = ask(headers)
    first:answer(200, ledger.answer(1000, 300, 400), CLOSE)
    local id = client:read_response().headers["x-request-id"]
    local row = ledger.ask(gateway, "requests", id)
    assert.equal("alice", row.key)
    assert.equal("search", row.team)
    assert.equal("default", row.model)
    assert.equal("first/first-model", row.target)
    assert.equal(200, row.status)
    assert.same({ 1000, 300, 400 }, { row.prompt, row.completion, row.cached })
    assert.equal(600 + 400 / 2 + 300 * 2, row.cost)
    assert.is_false(row.estimated)
    assert.equal(1, #row.trail)
    assert.equal(row.cost, row.trail[1].cost)
  end)

  it("takes nothing of a target whose price cannot be looked up", function()
    start { more = ledger.CONFIG .. " policy = { memory = 3 * 1024 * 1024 },",
      provider = { first = "limits = { concurrent = 1 }" },
      models = '    ["*"] = waterfall { "first/*" },' }
    local headers = ledger.key(gateway, "alice")
    -- more than policies have memory for, or time
    local response = ask(headers, { model = ("."):rep(1024 * 1024) }):read_response()
    assert.matches("^policy_", response.json.error.code)
    assert.equal(200, serve(headers, 1, 1, { model = "other" }).status)
  end)

  it("counts what it cost, by provider and by model", function()
    start { more = ledger.CONFIG, models = '    default = waterfall { "first/first-model" }, '
      .. '["*"] = waterfall { "first/first-model" },' }
    local headers = ledger.key(gateway, "alice")
    serve(headers, 1000, 300)
    serve(headers, 1000, 300, { model = "other" })
    assert.equal(2, #rows())
    local text = gateway:ask_admin("/metrics")
    assert.truthy(text:find('weir_provider_cost_dollars_total{gen_ai_provider_name="first"} 0.0032',
      1, true), text)
    for _, model in ipairs { "default", "*" } do
      assert.truthy(text:find(('weir_model_cost_dollars_total{gen_ai_request_model="%s"} 0.0016')
        :format(model), 1, true), text)
    end
  end)

  it("has a row for each attempt, and charges those that failed with an error nothing", function()
    local second = w:upstream("second")
    start()
    local headers = ledger.key(gateway, "alice")
    local client = ask(headers)
    first:answer(503, "{}", CLOSE)
    second:answer(200, ledger.answer(10, 5), CLOSE)
    assert.equal(200, client:read_response().status)
    local row = latest()
    assert.equal(2, #row.trail)
    assert.same({ "overloaded", 503, 0 }, { row.trail[1].code, row.trail[1].status,
      row.trail[1].cost })
    assert.equal("second/second-model", row.trail[2].target)
    assert.equal(2, row.attempts)
  end)

  it("knows the usage of streams, though the client did not ask for it", function()
    start()
    local client = ask(ledger.key(gateway, "alice"), { stream = true })
    local connection = first:stream(openai.content("Hello"), openai.finish, openai.usage,
      openai.done)
    connection:finish_stream()
    assert.is_nil(client:read_response().body:find("prompt_tokens", 1, true))
    local row = latest()
    assert.same({ 9, 3, 15 }, { row.prompt, row.completion, row.cost })
  end)

  it("estimates what a cut stream told nothing of, and says so", function()
    start()
    local client = ask(ledger.key(gateway, "alice"), { stream = true })
    local connection = first:stream(openai.content(("x"):rep(300)))
    connection:close()
    client:read_response()
    gateway:wait_log("event=request", "code=stream_truncated")
    local row = latest()
    assert.equal(100, row.completion)
    assert.is_true(row.prompt > 0)
    assert.is_true(row.estimated)
    assert.equal(row.prompt + 200, row.cost)
  end)

  it("charges nothing for what never left", function()
    start()
    local headers = ledger.key(gateway, "alice", "--budget", "1usd/month")
    first:refuse()
    assert.equal(502, ask(headers):read_response().status)
    local row = latest()
    assert.equal(0, row.cost)
    assert.equal(0, show("alice").reserved)
  end)

  it("keeps its days when a reload names a time zone that there is not", function()
    start()
    gateway:write("weir.lua", w:config { more = ledger.CONFIG
      .. 'ledger = { timezone = "Europe/Berln" },' })
    local status, said = gateway:command("reload")
    assert.equal(3, status)
    assert.matches("weir.lua: ledger.timezone: must be the name of a time zone", said, 1, true)
    assert.matches("(did you mean: Europe/Berlin)", said, 1, true)
  end)

  describe("of another time zone, by a reload,", function()
    local UTC_HOUR = tonumber(os.date("!%H"))

    --- A zone in which that hour of a day runs now: names of zones have their sign the other way.
    local function zone_of(hour)
      local ahead = (hour - UTC_HOUR + 12) % 24 - 12
      return ("Etc/GMT%+d"):format(-ahead)
    end

    local function config(hour)
      return { more = ledger.CONFIG .. ('ledger = { timezone = %q },'):format(zone_of(hour)) }
    end

    local generation
    local function move_to(hour)
      gateway:write("weir.lua", w:config(config(hour)))
      generation = (generation or 1) + 1
      gateway:reload(generation)
    end

    before_each(function() generation = nil end)

    it("sums up budgets from where its days begin", function()
      start(config(1))
      ledger.key(gateway, "alice", "--budget", "1usd/day")
      ledger.ask(gateway, "teams", "add", "--name", "search", "--budget", "1usd/day")
      ledger.write(gateway, ([[INSERT INTO sums VALUES(%d, %d, %d, 'm', 'first/m', 1, 0, 1, 1, 1,
        0, 0, 700, 0)]]):format(os.time() / 900 - 12, show("alice").id,
        ledger.ask(gateway, "teams", "show", "search").id))
      local before = show("alice")
      for _ = 1, 2 do
        move_to(12)
        local after = show("alice")
        assert.same({ 700, 999300 }, { after.spent, after.left })
        assert.equal(700, ledger.ask(gateway, "teams", "show", "search").spent)
        assert.are_not.equal(before.renews:sub(-5), after.renews:sub(-5))
        move_to(1)
        assert.equal(before.renews, show("alice").renews)
        assert.equal(0, show("alice").spent)
      end
    end)

    it("keeps all of them, and what is under way, to the micro-dollar", function()
      start(config(12))
      local headers = ledger.key(gateway, "alice", "--budget", "1usd/day")
      serve(headers, 20, 10)
      local client = ask(headers)
      local connection = first:take()
      move_to(11)
      assert.is_true(show("alice").reserved > 0)
      connection:respond(200, ledger.answer(20, 10), CLOSE)
      client:read_response()
      local now = show("alice")
      assert.same({ 80, 0 }, { now.spent, now.reserved })
      assert.equal(1, #ledger.ask(gateway, "usage", "--since", "9d").usage)
      assert.equal(80, ledger.ask(gateway, "usage", "--since", "9d").usage[1].cost)
    end)

    it("is that of a clerk that is started anew", function()
      start(config(12))
      ledger.key(gateway, "alice", "--budget", "1usd/day")
      move_to(6)
      local renews = show("alice").renews
      libc.C.kill(ledger.clerk(gateway), libc.SIGKILL)
      gateway:wait_log("event=clerk_died")
      local deadline = libc.deadline()
      repeat local status = ledger.run(gateway, "keys", "show", "alice")
      until status == 0 or libc.now() > deadline
      assert.equal(renews, show("alice").renews)
    end)
  end)

  describe("and budgets", function()
    --- 100 tokens at most of 2 micro-dollars, and a few for what is asked.
    local function broke(headers, members)
      local response = ask(headers, members):read_response()
      return response.status, cjson.decode(response.body).error, response
    end

    it("reserve before an attempt what it may cost, and settle what it did", function()
      start()
      local headers = ledger.key(gateway, "alice", "--budget", "1usd/month")
      local client = ask(headers)
      local connection = first:take()
      local reserved = show("alice").reserved
      assert.is_true(reserved > 200 and reserved < 300)
      connection:respond(200, ledger.answer(20, 10), CLOSE)
      client:read_response()
      local now = show("alice")
      assert.same({ 40, 0, 999960 }, { now.spent, now.reserved, now.left })
    end)

    it("reserve for as many answers as a request asks for", function()
      start()
      local headers = ledger.key(gateway, "alice", "--budget", "1usd/month")
      local function reserved_for(path, members)
        local body = cjson.encode(members)
        local client = gateway:request { path = path, body = body, headers = headers }
        local connection = first:take()
        local reserved = show("alice").reserved - math.floor(#body / 3)
        connection:respond(200, ledger.answer(1, 1), CLOSE)
        client:read_response()
        return reserved
      end
      local chat = { model = "default", max_tokens = 100,
        messages = { { role = "user", content = "hi" } } }
      assert.is_true(math.abs(reserved_for("/v1/chat/completions", chat) - 200) < 40)
      chat.n, chat.max_completion_tokens = 3, 1
      assert.is_true(math.abs(reserved_for("/v1/chat/completions", chat) - 600) < 40)
      local several = { model = "default", prompt = { "a\\\"b", "c, d", "e" }, max_tokens = 100,
        n = 2, best_of = 4 }
      assert.is_true(math.abs(reserved_for("/v1/completions", several) - 3 * 4 * 200) < 40)
      several.prompt = { { 1, 2, 3 }, { 4 } }
      assert.is_true(math.abs(reserved_for("/v1/completions", several) - 2 * 4 * 200) < 40)
      several.prompt = { 1, 2, 3 }
      assert.is_true(math.abs(reserved_for("/v1/completions", several) - 4 * 200) < 40)
    end)

    it("reserve the usual for an answer of no tokens, which some servers take for any", function()
      start()
      local client = ask(ledger.key(gateway, "alice", "--budget", "1usd/month"), { max_tokens = 0 })
      local connection = first:take()
      assert.is_true(show("alice").reserved > 2 * 4096)
      connection:respond(200, ledger.answer(1, 1), CLOSE)
      client:read_response()
    end)

    for _, text in ipairs { '"max_tokens":999999999,"n":999999999', '"max_tokens":1e300',
      '"max_tokens":5000000000', '"max_tokens":' .. ("9"):rep(100), '"max_completion_tokens":1e10',
      '"max_tokens":999999999,"n":' .. ("9"):rep(18) } do
      it("have no room for " .. text:sub(1, 50), function()
        start()
        local headers = ledger.key(gateway, "alice", "--budget", "1000usd/month")
        local client = gateway:request { headers = headers,
          body = '{"model":"default","messages":[{"role":"user","content":"hi"}],' .. text .. "}" }
        local response = client:read_response()
        assert.equal(429, response.status)
        assert.equal("insufficient_quota", cjson.decode(response.body).error.code)
        assert.equal(0, show("alice").reserved)
      end)
    end

    it("are charged no usage that no answer has, but an estimate", function()
      start()
      local headers = ledger.key(gateway, "alice", "--budget", "1usd/month")
      local client = ask(headers)
      first:answer(200, (ledger.answer(7, 5):gsub('"prompt_tokens":7',
        '"prompt_tokens":9223372036854775807')), CLOSE)
      assert.equal(200, client:read_response().status)
      local row = latest()
      assert.is_true(row.estimated)
      assert.is_true(row.prompt < 100)
      assert.equal(row.cost, show("alice").spent)
    end)

    it("refuse what does not fit, and say what is spent and when it renews", function()
      start()
      local headers = ledger.key(gateway, "alice", "--budget", "0.0003usd/month")
      assert.equal(200, serve(headers, 50, 50).status)
      local status, err, response = broke(headers)
      assert.equal(429, status)
      assert.same({ "insufficient_quota", "insufficient_quota" }, { err.code, err.type })
      assert.matches("the budget of the key 'alice' is $0.0003, of which $0.00015", err.message, 1,
        true)
      assert.matches("it renews at %d%d%d%d%-%d%d%-01T00:00:00Z", err.message)
      assert.is_truthy(response.headers["retry-after"])
      assert.equal(200, serve(headers, 10, 10, { max_tokens = 10 }).status)
      assert.equal(0, show("alice").reserved)
    end)

    it("refuse everything once they are spent", function()
      start()
      local headers = ledger.key(gateway, "alice", "--budget", "0.0003usd")
      serve(headers, 200, 90)
      local status, err = broke(headers, { max_tokens = 1 })
      assert.equal(429, status)
      assert.matches("is spent: $0.00038 of $0.0003; it does not renew", err.message, 1, true)
      ledger.ask(gateway, "keys", "set", "alice", "--budget", "0.0003usd/month")
      local _, again, response = broke(headers, { max_tokens = 1 })
      assert.equal("insufficient_quota", again.type)
      assert.equal(tonumber(response.headers["retry-after"]) > 60 and "false" or nil,
        response.headers["x-should-retry"]) -- nobody sleeps until the month is over
      ledger.ask(gateway, "keys", "set", "alice", "--budget", "1usd")
      assert.equal(200, serve(headers, 1, 1).status)
    end)

    it("are a team's too", function()
      start()
      ledger.ask(gateway, "teams", "add", "--name", "search", "--budget", "0.0003usd/day")
      local alice = ledger.key(gateway, "alice", "--team", "search")
      local bob = ledger.key(gateway, "bob", "--team", "search", "--budget", "1usd/day")
      serve(alice, 100, 50)
      local status, err = broke(bob)
      assert.equal(429, status)
      assert.matches("the budget of the team 'search'", err.message, 1, true)
      assert.equal(0, show("bob").reserved)
    end)

    it("warn when a soft limit is passed", function()
      start()
      local headers = ledger.key(gateway, "alice", "--budget", "0.001usd/day", "--soft", "50%")
      assert.is_nil(serve(headers, 300, 100).headers["x-weir-budget"])
      assert.truthy(gateway:wait_log("event=budget_low", "name=alice", "spent=500"))
      assert.equal("low", serve(headers, 1, 1).headers["x-weir-budget"])
    end)

    it("tell a policy before it sends in vain", function()
      start { more = ledger.CONFIG, models = [[
        default = function(req)
          local res, err = req:send("first/first-model")
          return req:reply(200, { code = err.code, final = err.final, status = err.status })
        end,]] }
      local headers = ledger.key(gateway, "alice", "--budget", "0.0001usd")
      assert.same({ code = "insufficient_quota", final = true, status = 429 },
        cjson.decode(ask(headers):read_response().body))
      assert.is_false(first:is_asked())
    end)

    it("know what was spent when the gateway starts anew", function()
      start()
      local headers = ledger.key(gateway, "alice", "--budget", "1usd/month")
      serve(headers, 100, 50)
      gateway:stop()
      local data = gateway.folder .. "/data"
      start { more = ledger.CONFIG .. ("data = %q,"):format(data) }
      assert.equal(200, show("alice").spent)
    end)
  end)

  it("refuses keys with a budget while nothing can be written down, and serves others", function()
    local support = require("spec.support.gateway")
    local data = support.folder { journal = "a file where the folder of journals would be" }
    start { more = ledger.CONFIG .. ("data = %q,"):format(data) }
    ledger.ask(gateway, "teams", "add", "--name", "search", "--budget", "1usd/day")
    local bob = ledger.key(gateway, "bob", "--team", "search")
    for _, headers in ipairs { ledger.key(gateway, "alice", "--budget", "1usd/day"), bob } do
      local response = ask(headers):read_response()
      assert.equal(503, response.status)
      assert.equal("ledger_unavailable", cjson.decode(response.body).error.code)
    end
    local carol = ledger.key(gateway, "carol", "--rpm", "1")
    assert.equal(200, serve(carol, 1, 1).status)
    assert.equal(429, ask(carol):read_response().status) -- limits hold all the same
    assert.truthy(gateway:wait_log("event=journal_unavailable"))
    gateway:stop()
    support.remove_folder(data)
  end)

  it("holds to its concurrency what goes unrecorded, and shows policies whose it is", function()
    local support = require("spec.support.gateway")
    local data = support.folder { journal = "a file where the folder of journals would be" }
    start { more = ledger.CONFIG .. ("data = %q,"):format(data), models = [[
      default = waterfall { "first/first-model" },
      mine = function(req)
        return req:reply(200, { team = req.key.team, env = req.key.labels.env })
      end,]] }
    ledger.ask(gateway, "teams", "add", "--name", "search", "--concurrent", "2")
    local alice = ledger.key(gateway, "alice", "--team", "search", "--concurrent", "1",
      "--label", "env=prod")
    local bob = ledger.key(gateway, "bob", "--team", "search")
    local clients, connections = { ask(alice) }, { first:take() }
    assert.matches("'alice' may have 1 request at once", ask(alice):read_response().body, 1, true)
    clients[2], connections[2] = ask(bob), first:take()
    assert.matches("'search' may have 2 requests at once", ask(bob):read_response().body, 1, true)
    connections[1]:respond(200, ledger.answer(1, 1), CLOSE)
    assert.equal(200, clients[1]:read_response().status)
    assert.same({ team = "search", env = "prod" }, ask(alice, { model = "mine" })
      :read_response().json)
    clients[2]:close()
    connections[2]:wait_closed()
    assert.equal(200, serve(alice, 1, 1).status)
    gateway:stop()
    support.remove_folder(data)
  end)

  describe("sums up", function()
    before_each(function()
      start()
      ledger.ask(gateway, "teams", "add", "--name", "search")
      local alice = ledger.key(gateway, "alice", "--team", "search")
      local bob = ledger.key(gateway, "bob")
      serve(alice, 10, 10)
      serve(alice, 10, 10)
      serve(bob, 100, 0)
    end)

    it("by key, team, model, target and day", function()
      local usage = ledger.ask(gateway, "usage").usage
      assert.same({ "bob", 1, 100 }, { usage[1].key, usage[1].requests, usage[1].cost })
      assert.same({ "alice", 2, 60 }, { usage[2].key, usage[2].requests, usage[2].cost })
      usage = ledger.ask(gateway, "usage", "--by", "team,model", "--since", "1d").usage
      assert.same({ "-", "default", 100 }, { usage[1].team, usage[1].model, usage[1].prompt })
      assert.equal(1, #ledger.ask(gateway, "usage", "--by", "target,day").usage)
    end)

    it("of one key, team, model or target alone", function()
      local function sums(...)
        local list = {}
        for i, row in ipairs(ledger.ask(gateway, "usage", ...).usage) do
          list[i] = (row.key or row.model or row.day) .. " " .. row.requests
        end
        return list
      end
      assert.same({ "default 2" }, sums("--key", "alice"))
      assert.same({ "default 1" }, sums("--key", "bob", "--since", "9d"))
      assert.same({ "alice 2" }, sums("--team", "search"))
      assert.same({ "bob 1" }, sums("--team", "none"))
      assert.same({ "bob 1", "alice 2" }, sums("--model", "default", "--target",
        "first/first-model"))
      assert.same({}, sums("--model", "x' OR 1 --"))
      assert.same({}, sums("--target", "first/other"))
      local status, text = ledger.run(gateway, "usage", "--key", "alcie")
      assert.equal(1, status)
      assert.matches("no key is called 'alcie' (did you mean 'alice'?)", text, 1, true)
    end)

    it("as a table and as CSV", function()
      local _, text = ledger.run(gateway, "usage", "--by", "key")
      assert.matches("KEY%s+REQUESTS%s+ERRORS", text)
      assert.matches("alice%s+2%s+0%s+2%s+20%s+20%s+0%s+0%s+$0.00006", text)
      assert.matches("\nTOTAL%s+3%s+0%s+3%s+120%s+20%s+0%s+0%s+$0.00016%s+0\n$", text)
      _, text = ledger.run(gateway, "usage", "--by", "key", "--csv")
      assert.matches("^key,requests,errors,attempts", text)
      assert.matches("\r\nalice,2,0,2,20,20,0,0,60,0\r\n", text, 1, true)
    end)

    it("lists requests, filtered", function()
      assert.equal(3, #rows())
      assert.equal(2, #rows("--key", "alice"))
      assert.equal(2, #rows("--team", "search"))
      assert.equal(0, #rows("--status", "500"))
      assert.equal(3, #rows("--status", "200", "--model", "default"))
      assert.equal(0, #rows("--slower", "10m"))
      assert.equal(3, #rows("--slower", "0s"))
    end)

    it("lists and adds up what was from one moment to another", function()
      assert.equal(3, #rows()) -- all are in the ledger
      ledger.write(gateway, "UPDATE requests SET time = time - 90000000000 WHERE key = (SELECT id "
        .. "FROM accounts WHERE kind = 'key' AND name = 'bob')") -- 25 hours
      assert.equal(2, #rows("--since", "24h"))
      assert.equal(1, #rows("--until", "24h"))
      assert.equal(0, #rows("--since", "2020-01-01", "--until", "2020-02-01"))
      assert.same({}, ledger.ask(gateway, "usage", "--since", "9d", "--until", "yesterday").usage)
      assert.equal(2, #ledger.ask(gateway, "usage", "--since", "2020-01-01T10:00").usage)
    end)

    it("lists requests by pages, each once, also those of one moment", function()
      local _, text = ledger.run(gateway, "requests", "--limit", "2")
      ledger.write(gateway, "UPDATE requests SET time = (SELECT max(time) FROM requests)")
      local seen, count, cursor, pages = {}, 0, nil, 0
      repeat
        local page = ledger.ask(gateway, "requests", "--limit", "1",
          unpack(cursor and { "--before", cursor } or {}))
        assert.is_nil(seen[page.requests[1].id])
        seen[page.requests[1].id] = true
        count, cursor, pages = count + #page.requests, page.next, pages + 1
      until not cursor
      assert.same({ 3, 3 }, { count, pages })
      assert.matches("\nmore: %-%-before %d+%-req_%x+\n$", text)
      assert.is_nil(ledger.ask(gateway, "requests", "--limit", "3").next)
    end)
  end)
end)
