-- Started on a disk that is full, or can only be read: what the ledger and journals have is known,
-- and when they can be written again, they are.

local disk = require("spec.support.disk")
local ledger = require("spec.support.ledger")
local libc = require("spec.support.libc")
local world = require("spec.support.world")

describe("a gateway that is started", function()
  local why_not = disk.why_not()
  local w, first, data, gateway

  local function start()
    gateway = w:gateway {
      more = ledger.CONFIG .. ("data = %q,"):format(data.path),
      under = data.under,
    }
  end

  before_each(function()
    if why_not then return end
    w, data = world.new(), disk.new("30m")
    first = w:upstream("first")
    start()
  end)
  after_each(function()
    if why_not then return end
    w:close()
    data:close()
  end)

  local function ask(headers)
    return gateway:request { body = ledger.request(), headers = headers }
  end

  local function serve(headers) return ledger.serve(gateway, first, headers) end

  local function refusal(headers) return ledger.refusal(gateway, headers) end

  local function purse(name)
    local shown = ledger.ask(gateway, "keys", "show", name)
    return { shown.spent, shown.reserved, shown.in_flight }
  end

  --- Until it is that, or the deadline.
  local function wait_purse(name, wanted)
    local deadline, ok, shown = os.time() + 20
    repeat
      ok, shown = pcall(purse, name)
    until ok and shown[1] == wanted[1] and shown[2] == wanted[2] or os.time() > deadline
    assert.same(wanted, shown)
  end

  --- Without a last word of anybody.
  local function kill_all()
    local pids = gateway.process:children()
    gateway.process:kill()
    for _, pid in ipairs(pids) do libc.C.kill(pid, libc.SIGKILL) end
  end

  it("on a full disk lets those in who have a key", function()
    if why_not then return pending(why_not) end
    local alice = ledger.key(gateway, "alice", "--budget", "1usd/month")
    local carol = ledger.key(gateway, "carol")
    assert.equal(200, serve(alice))
    wait_purse("alice", { 20, 0, 0 })
    gateway:stop()
    data:fill()
    start()
    assert.equal(200, serve(carol))
    assert.same({ 503, "ledger_unavailable" }, { refusal(alice) })
    assert.same({ 20, 0, 0 }, purse("alice"))
  end)

  it("on a disk that can only be read writes when it can be written", function()
    if why_not then return pending(why_not) end
    local alice = ledger.key(gateway, "alice", "--budget", "1usd/month")
    gateway:stop()
    data:freeze()
    start()
    gateway:wait_log("event=ledger_unavailable", "can only be read")
    local status, said = ledger.run(gateway, "keys", "add", "--name", "bob")
    assert.equal(1, status)
    assert.matches("ledger.db can only be read", said, 1, true)
    assert.same({ 503, "ledger_unavailable" }, { refusal(alice) })
    data:thaw()
    gateway:wait_log("event=ledger_available")
    local deadline, ok = os.time() + 20
    repeat ok = pcall(ledger.key, gateway, "bob") until ok or os.time() > deadline
    assert.is_true(ok)
  end)

  it("on such a disk refuses changes of keys, and leaves these as they were", function()
    if why_not then return pending(why_not) end
    local before = ledger.key(gateway, "carol")
    local rotated = ledger.ask(gateway, "keys", "rotate", "carol").key
    local now = { authorization = "Bearer " .. rotated }
    gateway:stop()
    data:freeze()
    start()
    local shown = ledger.ask(gateway, "keys", "show", "carol")
    for _, words in ipairs { { "add", "bob" }, { "set", "carol", "--models", "none-of-these" },
      { "rotate", "carol", "--grace", "0s" }, { "revoke", "carol" } } do
      local status, said = ledger.run(gateway, "keys", unpack(words))
      assert.equal(1, status)
      assert.matches("^weir: ledger: ledger.db can only be read", said)
    end
    assert.matches("^HTTP/1.1 503 ", gateway:ask_admin("/keys/carol/revoke", "-i -X POST"))
    assert.same(shown, ledger.ask(gateway, "keys", "show", "carol"))
    assert.same({ 200, 200 }, { serve(before), serve(now) })
  end)

  it("on such a disk holds what journals have", function()
    if why_not then return pending(why_not) end
    local alice = ledger.key(gateway, "alice", "--budget", "1usd/month")
    local clerk = ledger.clerk(gateway)
    libc.C.kill(clerk, libc.SIGSTOP)
    assert.equal(200, serve(alice))
    local client = ask(alice)
    local connection = first:take()
    kill_all()
    client:close()
    connection:close()
    data:freeze()
    start()
    local held = purse("alice")
    assert.equal(0, held[1])
    assert.is_true(held[2] > 20) -- one is closed; what the other came to nobody knows
    data:thaw()

    wait_purse("alice", { held[2], 0, 0 })
    assert.equal(held[2], ledger.ask(gateway, "usage", "--by", "key").usage[1].cost)
  end)
end)
