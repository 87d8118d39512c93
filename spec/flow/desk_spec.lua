-- The clerk, asked by callers that do not read what they asked for.

local cjson = require("cjson")
local ledger = require("spec.support.ledger")
local process = require("spec.support.process")
local world = require("spec.support.world")

--- A thousand rows of a kilobyte: more than socket and pipe hold.
local ROWS = [[WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
  INSERT INTO requests SELECT 'req_' || i, (strftime('%%s', 'now') - i) * 1000000, %d, 0,
  printf('%%.1000c', 'm'), 'chat', 200, '', 'first/m', 1, 1, 1, 1, 1, 0, 0, 1, 0, 1 FROM n]]

describe("the clerk", function()
  local w, first, gateway

  before_each(function()
    w = world.new()
    first = w:upstream("first")
    gateway = w:gateway { more = ledger.CONFIG }
    local alice = ledger.ask(gateway, "keys", "add", "--name", "alice")
    ledger.write(gateway, ROWS:format(alice.id))
  end)
  after_each(function() w:close() end)

  --- A caller that reads the beginning of a large answer, and no more until it is waited for.
  local function begin()
    local caller = process.start { "curl", "-sN", "--unix-socket",
      gateway.folder .. "/data/admin.sock", "http://weir/requests?limit=1000&key=alice" }
    w.processes[#w.processes + 1] = caller
    caller:wait_for("out", function(text) return #text > 0 end, "an answer to begin")
    return caller
  end

  local function begin_all(count)
    local callers = {}
    for i = 1, count do callers[i] = begin() end
    return callers
  end

  --- Whether the caller got all of it.
  local function ends_well(caller)
    assert.equal(0, caller:wait())
    local ok, answer = pcall(cjson.decode, caller.text.out)
    return ok and #(answer.requests or {}) == 1000, answer
  end

  it("adds keys and rows while callers do not read, and none of these loses a byte", function()
    local callers = begin_all(8)
    local bob = ledger.key(gateway, "bob")
    local client = gateway:request { body = ledger.request(), headers = bob }
    first:answer(200, ledger.answer(10, 5), { Connection = "close" })
    assert.equal(200, client:read_response().status)
    assert.equal(1, #ledger.ask(gateway, "requests", "--key", "bob").requests)
    for _, caller in ipairs(callers) do assert.is_true((ends_well(caller))) end
  end)

  it("says so to who asks for much while too many do not read, until these leave", function()
    local callers = begin_all(34)
    assert.equal(200, gateway:request { path = "/v1/models", method = "GET",
      headers = ledger.key(gateway, "bob") }:read_response().status)
    for i = 33, 34 do
      local is_whole, answer = ends_well(callers[i])
      assert.is_false(is_whole)
      assert.matches("too many large answers wait", answer.error, 1, true)
    end
    assert.is_true((ends_well(callers[1])))
    for i = 2, 32 do callers[i]:kill() end
    ledger.ask(gateway, "keys", "show", "bob") -- by now the clerk has heard that they left
    for _, caller in ipairs(begin_all(5)) do assert.is_true((ends_well(caller))) end
  end)
end)
