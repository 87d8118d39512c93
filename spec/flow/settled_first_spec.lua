-- What a request took of limits and budgets is given back before its client has the whole answer,
-- however busy the machine: a client that asks for one thing after another is never told that it
-- asks for two at once.  On the plain build: what is preloaded here does not go with a sanitizer's
-- own.

local ledger = require("spec.support.ledger")
local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local preload = require("spec.support.preload")
local support = require("spec.support.gateway")
local world = require("spec.support.world")

local CLOSE = { Connection = "close" }

describe("a worker that is stopped when its answer has left #plain", function()
  local w, first, gateway, folder, headers

  before_each(function()
    w = world.new()
    first = w:upstream("first")
    folder = support.folder {}
    gateway = w:gateway {
      under = preload(folder, "halted_sender"),
      more = (ledger.CONFIG:gsub("workers = 1", "workers = 2")),
      provider = { first = 'limits = { concurrent = 1 }, key = weir.env "KEY"' },
      models = [[
        default = waterfall { "first/first-model" },
        own = function(req) return req:reply(200, { said = "halt here" }) end,]],
    }
    headers = ledger.key(gateway, "alice", "--budget", "1usd/month", "--concurrent", "1")
  end)

  after_each(function()
    for _, pid in ipairs(gateway:workers()) do libc.C.kill(pid, libc.SIGCONT) end
    w:close()
    support.remove_folder(folder)
  end)

  --- The other worker serves the next request, and the ledger has what the first one cost.
  local function assert_settled(cost, requests)
    local shown = ledger.ask(gateway, "keys", "show", "alice")
    assert.same({ cost, 0, 0 }, { shown.spent, shown.reserved, shown.in_flight })
    assert.equal(requests, #ledger.ask(gateway, "requests").requests)
    assert.equal(200, ledger.serve(gateway, first, headers))
  end

  it("has settled a plain answer", function()
    local client = gateway:request { body = ledger.request(), headers = headers }
    first:answer(200, (ledger.answer(10, 5):gsub("Hello", "halt here")), CLOSE)
    assert.equal(200, client:read_response().status)
    assert_settled(20, 1)
  end)

  it("has settled what a policy answers by itself", function()
    local client = gateway:request { body = ledger.request { model = "own" }, headers = headers }
    assert.equal(200, client:read_response().status)
    assert_settled(0, 1)
  end)

  it("has settled a stream, before its [DONE]", function()
    local client = gateway:request { body = ledger.request { stream = true }, headers = headers }
    local provider = first:stream(openai.content("a"), openai.usage)
    client:read_head()
    provider:send_chunk(openai.content("halt here") .. openai.finish .. openai.done)
    client:read_until(openai.done)
    assert_settled(15, 1)
    provider:close()
  end)

  it("has settled a stream that broke, before it says so", function()
    local client = gateway:request { body = ledger.request { stream = true }, headers = headers }
    local provider = first:stream(openai.content("a"), openai.usage)
    client:read_head()
    provider:send_chunk("data: " .. openai.failure("halt here") .. "\n\n")
    client:read_until("halt here")
    assert_settled(15, 1)
  end)
end)
