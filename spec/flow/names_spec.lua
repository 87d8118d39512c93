-- Names that clients choose, as people and programs are shown them.

local cjson = require("cjson")
local ledger = require("spec.support.ledger")
local world = require("spec.support.world")

local CLOSE = { Connection = "close" }

describe("a model's name that a client chose", function()
  local w, first, gateway, headers

  before_each(function()
    w = world.new()
    first = w:upstream("first")
    gateway = w:gateway { more = ledger.CONFIG,
      models = '    ["*"] = waterfall { "first/first-model" },' }
    headers = ledger.key(gateway, "alice")
  end)
  after_each(function() w:close() end)

  local function serve(model)
    local client = gateway:request { headers = headers,
      body = '{"model":' .. cjson.encode(model) .. ',"messages":[{"role":"user","content":"hi"}]}' }
    first:answer(200, ledger.answer(1, 1), CLOSE)
    assert.equal(200, client:read_response().status)
  end

  it("is cut between its characters where it is long", function()
    serve(("é"):rep(100))
    local row = ledger.ask(gateway, "requests").requests[1]
    assert.equal(("é"):rep(63), row.model)
    assert.equal(row.model, ledger.ask(gateway, "usage", "--by", "model").usage[1].model)
  end)

  it("is cut so where its key may not ask for it, too", function()
    serve("first") -- a worker has no journal for rows before
    ledger.ask(gateway, "keys", "set", "alice", "--models", "other")
    for _, begin in ipairs { "", "x" } do
      local name = begin .. ("é"):rep(100)
      local client = gateway:request { headers = headers,
        body = '{"model":"' .. name .. '","messages":[{"role":"user","content":"hi"}]}' }
      local message = client:read_response().json.error.message
      assert.matches("the model '" .. begin .. "[é]+';", message)
    end
    local row = ledger.ask(gateway, "requests", "--status", "403").requests[1]
    assert.equal(0, #row.model:gsub("^x", ""):gsub("é", ""))
  end)

  it("moves no cursor of who reads a table", function()
    serve("a\27]0;owned\7b\nc\194\155d")
    for _, words in ipairs { { "requests" }, { "usage", "--by", "model" } } do
      local status, text = ledger.run(gateway, unpack(words))
      assert.equal(0, status)
      assert.is_nil(text:gsub("\n", ""):find("%c"), text)
      assert.is_nil(text:find("\194\155", 1, true))
      assert.truthy(text:find("a?]0;owned?b?c?d", 1, true), text)
    end
  end)

  it("is no formula of a spreadsheet", function()
    for _, name in ipairs { "=1+1", "+1", "-1", "@SUM(1)", "\t=1", "\r=1" } do
      serve(name)
      local _, text = ledger.run(gateway, "requests", "--csv", "--limit", "1")
      local cell = name:find("\r", 1, true) and '"\'' .. name .. '"' or "'" .. name
      assert.truthy(text:find("," .. cell .. ",", 1, true), text)
    end
  end)
end)
