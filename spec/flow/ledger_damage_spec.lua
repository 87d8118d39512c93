-- A ledger and journals that are not as this version writes them.

local lfs = require("lfs")
local ledger = require("spec.support.ledger")
local support = require("spec.support.gateway")
local world = require("spec.support.world")

describe("a data folder", function()
  local w, first, gateway, data

  before_each(function()
    w = world.new()
    first = w:upstream("first")
    data = support.folder {}
  end)
  after_each(function()
    w:close()
    support.remove_folder(data)
  end)

  local function start()
    gateway = w:gateway { more = ledger.CONFIG .. ("data = %q,"):format(data) }
  end

  --- In a ledger that nobody has open.
  local function write(sql) ledger.write({ folder = data, data = data }, sql) end

  it("of a newer version is left as it is, and that is said", function()
    start()
    ledger.key(gateway, "alice")
    gateway:stop()
    write("PRAGMA user_version = 2; DROP TABLE sums;")
    start()
    gateway:wait_log("event=ledger_unavailable", "a newer Weir has written it")
    local status, said = ledger.run(gateway, "keys", "list")
    assert.equal(1, status)
    assert.matches("the ledger cannot be opened", said, 1, true)
    gateway:stop()
    write("CREATE TABLE sums(x)") -- which is not there
  end)

  it("whose journals are damaged has them put aside, and is served from", function()
    lfs.mkdir(data .. "/journal")
    local path = data .. "/journal/0-0-0.journal"
    assert(io.open(path, "w")):close()
    start()
    gateway:wait_log("event=journal_damaged")
    ledger.key(gateway, "alice")
    assert.is_nil(lfs.attributes(path))
    assert.is_truthy(lfs.attributes(path .. ".damaged"))
  end)

  it("that is removed under way takes no more rows, until it is back", function()
    start()
    local headers = ledger.key(gateway, "alice", "--budget", "1usd/month")
    local function serve()
      local client = gateway:request { body = ledger.request(), headers = headers }
      first:answer(200, ledger.answer(10, 5), { Connection = "close" })
      assert.equal(200, client:read_response().status)
    end
    serve()
    assert.equal(1, #ledger.ask(gateway, "requests").requests)
    assert(os.rename(data .. "/ledger.db", data .. "/elsewhere"))
    serve()
    gateway:wait_log("event=ledger_unavailable", "ledger.db was removed")
    local status, said = ledger.run(gateway, "keys", "add", "--name", "bob")
    assert.equal(1, status)
    assert.matches("ledger.db was removed, or another file took its place", said, 1, true)
    assert(os.rename(data .. "/elsewhere", data .. "/ledger.db"))
    gateway:wait_log("event=ledger_available")
    assert.equal(2, #ledger.ask(gateway, "requests").requests)
  end)

  it("that is removed does not make its process fail where days begin elsewhere", function()
    start()
    ledger.key(gateway, "alice", "--budget", "1usd/day")
    assert(os.rename(data .. "/ledger.db", data .. "/elsewhere"))
    gateway:write("weir.lua", w:config { more = ledger.CONFIG
      .. ('data = %q, ledger = { timezone = "Etc/GMT+9" },'):format(data) })
    gateway:reload(2)
    local status, said = ledger.run(gateway, "keys", "list") -- which it answers after it was told
    assert.equal(1, status)
    assert.matches("ledger.db was removed", said, 1, true)
    assert.not_matches("clerk_failed", gateway:log())
  end)

  it("that another process writes to is read and served from meanwhile", function()
    start()
    local headers = ledger.key(gateway, "alice", "--budget", "1usd/month")
    local let_go = ledger.hold { data = data }
    local client = gateway:request { body = ledger.request(), headers = headers }
    first:answer(200, ledger.answer(10, 5), { Connection = "close" })
    assert.equal(200, client:read_response().status)
    gateway:wait_log("event=ledger_unavailable", "database is locked")
    local status, said = ledger.run(gateway, "keys", "add", "--name", "bob")
    assert.equal(1, status)
    assert.matches("ledger: database is locked", said, 1, true)
    assert.equal(20, ledger.ask(gateway, "keys", "show", "alice").spent)
    let_go()
    gateway:wait_log("event=ledger_available")
    assert.equal(20, ledger.ask(gateway, "usage", "--by", "key").usage[1].cost)
  end)

  it("with a row that cannot be shown is read to the end of the statement", function()
    start()
    ledger.key(gateway, "alice")
    write("UPDATE accounts SET expires = 'soon'")
    local status, said = ledger.run(gateway, "keys", "list")
    assert.equal(1, status)
    assert.matches("attempt to compare", said, 1, true)
    write("UPDATE accounts SET expires = NULL; PRAGMA wal_checkpoint(TRUNCATE)")
    assert.equal(0, lfs.attributes(data .. "/ledger.db-wal").size) -- nobody reads what was before
    assert.equal(1, #ledger.ask(gateway, "keys", "list").keys)
  end)

  it("with keys of larger numbers than there is room for serves the others", function()
    start()
    ledger.key(gateway, "alice")
    gateway:stop()
    write([[INSERT INTO accounts(id, kind, name, budget, period, created)
      VALUES(300000, 'key', 'far', 1000000, 'day', 1),
      (9000000000, 'team', 'farther', 1, 'day', 1)]])
    start()
    assert.equal(2, #ledger.ask(gateway, "keys", "list").keys)
    assert.equal(0, ledger.ask(gateway, "keys", "show", "far").spent)
    local status, said = ledger.run(gateway, "keys", "add", "--name", "bob")
    assert.equal(1, status)
    assert.matches("there is no room for more keys", said, 1, true)
    assert.equal("revoked", ledger.ask(gateway, "keys", "show", "bob").state)
  end)
end)
