-- Whatever comes in between, what keys and teams have spent is what the ledger's rows cost, and
-- nothing stays reserved.

local ledger = require("spec.support.ledger")
local openai = require("spec.support.openai")
local world = require("spec.support.world")

local CLOSE = { Connection = "close" }
local MODELS = [[
    default = waterfall { "first/first-model", "second/second-model" },
    race = function(req)
      return req:race({ "first/first-model", "second/second-model" }, { after = 0.02 })
    end,
    copied = require("policies.shadow")({ "first/first-model" }, { to = "second/second-model" }),
    on = require("policies.continue") { "first/first-model", "second/second-model" },
    errs = function(req)
      req:send("first/first-model")
      error("no")
    end,
    drops = function(req)
      req:send("first/first-model")
      return req:reply(200, { own = true })
    end,
    filtered = function(req)
      local res, err = req:send("first/first-model")
      return res and res:map(function(event)
        if event.text == "bad" then error("bad") end
        return event
      end), err
    end,]]

describe("money", function()
  local w, first, second, gateway, headers

  before_each(function()
    w = world.new()
    first, second = w:upstream("first"), w:upstream("second")
    gateway = w:gateway { models = MODELS, more = [[  workers = 2, keys = "ledger",
      prices = { ["first-model"] = { input = 1, output = 2 },
        ["second-model"] = { input = 3, output = 5 } },]] }
    ledger.ask(gateway, "teams", "add", "--name", "old", "--budget", "1usd/month")
    ledger.ask(gateway, "teams", "add", "--name", "new", "--budget", "1usd/month")
    headers = ledger.key(gateway, "alice", "--team", "old", "--budget", "1usd/month",
      "--concurrent", "8")
  end)
  after_each(function() w:close() end)

  local function ask(model, members)
    members = members or {}
    members.model = model
    return gateway:request { body = ledger.request(members), headers = headers }
  end

  local function stream(model) return ask(model, { stream = true }) end

  local function show(kind, name) return ledger.ask(gateway, kind, "show", name) end

  --- Once nothing is under way: cost by team, and how often anything was estimated.
  local function at_rest()
    for _ = 1, 200 do
      local key = show("keys", "alice")
      if key.in_flight == 0 and key.reserved == 0 then break end
    end
    local costs, estimated = {}, 0
    for _, sum in ipairs(ledger.ask(gateway, "usage", "--by", "key,team").usage) do
      costs[sum.team] = (costs[sum.team] or 0) + sum.cost
      costs.all = (costs.all or 0) + sum.cost
      estimated = estimated + sum.estimated
    end
    local key = show("keys", "alice")
    assert.same({ costs.all or 0, 0, 0 }, { key.spent, key.reserved, key.in_flight })
    for _, name in ipairs { "old", "new" } do
      local team = show("teams", name)
      assert.same({ name, costs[name] or 0, 0, 0 },
        { name, team.spent, team.reserved, team.in_flight })
    end
    for _, row in ipairs(ledger.ask(gateway, "requests").requests) do
      local sum = 0
      for _, attempt in ipairs(ledger.ask(gateway, "requests", row.id).trail) do
        sum = sum + attempt.cost
      end
      if row.model ~= "copied" then assert.equal(row.cost, sum) end
    end
    return costs, estimated
  end

  it("is whole when a key changes its team under way", function()
    local client = ask("default")
    local connection = first:take()
    ledger.ask(gateway, "keys", "set", "alice", "--team", "new")
    connection:respond(200, ledger.answer(100, 10), CLOSE)
    client:read_response()
    assert.same({ old = 120, all = 120 }, (at_rest()))
    client = ask("default")
    first:answer(200, ledger.answer(100, 10), CLOSE)
    client:read_response()
    assert.same({ old = 120, new = 120, all = 240 }, (at_rest()))
  end)

  it("is whole when a key is revoked, or changed for another, under way", function()
    for _, words in ipairs { { "rotate", "alice", "--grace", "0s" }, { "revoke", "alice" } } do
      local client = ask("default")
      local connection = first:take()
      local changed = ledger.ask(gateway, "keys", unpack(words))
      connection:respond(200, ledger.answer(100, 10), CLOSE)
      assert.equal(200, client:read_response().status)
      assert.equal(401, ask("default"):read_response().status)
      headers = { authorization = "Bearer " .. (changed.key or "") }
    end
    assert.same({ old = 240, all = 240 }, (at_rest()))
  end)

  it("is whole when a budget is lowered, and its period changed, under way", function()
    local client = ask("default")
    local connection = first:take()
    ledger.ask(gateway, "keys", "set", "alice", "--budget", "0.0001usd/day")
    ledger.ask(gateway, "teams", "set", "old", "--budget", "0.0001usd")
    connection:respond(200, ledger.answer(100, 10), CLOSE)
    client:read_response()
    assert.equal(429, ask("default"):read_response().status)
    assert.same({ old = 120, all = 120 }, (at_rest()))
    for _, budget in ipairs { "1usd/week", "1usd/month", "none", "1usd" } do
      ledger.ask(gateway, "keys", "set", "alice", "--budget", budget)
      assert.equal(120, show("keys", "alice").spent)
    end
  end)

  it("is whole when the client leaves, in every state", function()
    local client = ask("default")
    local connection = first:take()
    client:close()
    connection:wait_closed()
    local before_head = at_rest().all
    client = stream("default")
    connection = first:stream(openai.role)
    client:close()
    connection:wait_closed()
    client = stream("default")
    connection = first:stream(openai.role, openai.content("some"))
    client:read_head()
    client:close()
    connection:wait_closed()
    client = stream("default")
    connection = first:stream(openai.role, openai.content("some"), openai.finish, openai.usage)
    client:read_head()
    client:close()
    connection:wait_closed()
    local costs, estimated = at_rest()
    assert.is_true(before_head > 0 and costs.all > 3 * before_head)
    assert.is_true(estimated >= 3)
  end)

  it("is whole when the configuration is reloaded under way", function()
    local client = ask("default")
    local connection = first:take()
    gateway:write("weir.lua", w:config { models = MODELS, more = [[  workers = 2, keys = "ledger",
      prices = { ["first-model"] = { input = 100, output = 100 } },]] })
    gateway:reload(2)
    connection:respond(200, ledger.answer(100, 10), CLOSE)
    client:read_response()
    assert.same({ old = 120, all = 120 }, (at_rest()))
  end)

  it("is whole when a race is lost", function()
    local client = ask("race")
    local slow = first:take()
    second:answer(200, ledger.answer(100, 10), CLOSE)
    client:read_response()
    slow:wait_closed()
    local costs, estimated = at_rest()
    assert.is_true(costs.all > 350)
    assert.equal(1, estimated)
  end)

  it("is whole when a copy ends after its request, or with it", function()
    local client = ask("copied")
    local copy = second:take()
    first:answer(200, ledger.answer(100, 10), CLOSE)
    client:read_response()
    assert.is_true(show("keys", "alice").reserved > 0)
    copy:respond(200, ledger.answer(100, 10), CLOSE)
    gateway:wait_log("event=shadow", "outcome=ok")
    assert.same({ old = 470, all = 470 }, (at_rest()))
    client = ask("copied")
    copy = second:take()
    first:take()
    client:close()
    copy:wait_closed()
    at_rest()
  end)

  it("is whole when a stream breaks and goes on", function()
    local client = stream("on")
    local connection = first:stream(openai.role, openai.content("half "))
    client:read_head()
    connection:reset()
    second:stream(openai.content("whole"), openai.finish, openai.usage, openai.done)
      :finish_stream()
    client:read_chunks()
    local costs, estimated = at_rest()
    assert.is_true(costs.all > 9 * 3 + 3 * 5)
    assert.equal(1, estimated)
  end)

  it("is whole when a policy errs, or answers by itself, after it has sent", function()
    for model, status in pairs { errs = 500, drops = 200 } do
      local client = ask(model)
      first:answer(200, ledger.answer(100, 10), CLOSE)
      assert.equal(status, client:read_response().status)
    end
    assert.same({ old = 240, all = 240 }, (at_rest()))
  end)

  it("is whole when a filter errs amid a stream", function()
    local client = stream("filtered")
    local connection = first:stream(openai.role, openai.content("good"), openai.content("bad"))
    client:read_response()
    connection:wait_closed()
    local _, estimated = at_rest()
    assert.equal(1, estimated)
  end)
end)
