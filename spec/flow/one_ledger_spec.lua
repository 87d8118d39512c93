-- A folder of data is one gateway's: a second one on it says that it waits, and for what.

local ledger = require("spec.support.ledger")
local libc = require("spec.support.libc")
local process = require("spec.support.process")
local support = require("spec.support.gateway")
local world = require("spec.support.world")

describe("a second gateway on the same data", function()
  it("says that it waits, and goes on when the first has ended", function()
    local w = world.new()
    w:upstream("first")
    local first = w:gateway { more = ledger.CONFIG }
    ledger.key(first, "alice")
    local folder = support.folder { ["weir.lua"] = w:config { more = ledger.CONFIG
      .. (' data = "%s/data", admin = { listen = "unix:second.sock" },'):format(first.folder) } }
    local second = process.start(support.command("serve", folder .. "/weir.lua"), { KEY = "k" })
    second:wait_for("err", function(text)
      return text:find("event=ledger_waits path=" .. first.folder .. "/data/ledger.lock", 1, true)
    end, "a word of waiting")

    libc.C.kill(first.process.pid, libc.SIGTERM)
    assert.equal(0, first.process:wait())
    second:wait_for("err", function(text) return text:find("event=listening", 1, true) end,
      "the second gateway", 20)
    local list = process.start(support.command("keys", "list", "--socket",
      folder .. "/second.sock"))
    assert.equal(0, list:wait())
    assert.is_truthy(list.text.out:find("alice", 1, true))
    second:signal(libc.SIGTERM)
    assert.equal(0, second:wait())
    support.remove_folder(folder)
    w:close()
  end)
end)
