-- Lists of keys and teams that are longer than a page.

local cjson = require("cjson")
local ledger = require("spec.support.ledger")
local world = require("spec.support.world")

describe("a list of keys", function()
  local w, gateway

  --- 2,300 keys: of each hundred one has expired and one is revoked; every tenth is of a team.
  setup(function()
    w = world.new()
    w:upstream("first")
    gateway = w:gateway { more = ledger.CONFIG }
    ledger.ask(gateway, "teams", "add", "--name", "search")
    ledger.ask(gateway, "teams", "add", "--name", "sales")
    ledger.write(gateway, [[WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
      WHERE i < 2300) INSERT INTO accounts(kind, name, team, prefix, created, expires, revoked)
      SELECT 'key', printf('user-%04d', i), iif(i % 10 = 0, (SELECT id FROM accounts WHERE
      name = 'search'), NULL), 'wk-aaaa', 1, iif(i % 100 = 1, 2, NULL), iif(i % 100 = 2, 2, NULL)
      FROM n]])
  end)
  teardown(function() w:close() end)

  local function names(...)
    local list = {}
    for i, key in ipairs(ledger.ask(gateway, "keys", "list", ...).keys) do list[i] = key.name end
    return list
  end

  --- The names that i, step, 2 * step … of user-0001 and so on are.
  local function every(first, step, last)
    local list = {}
    for i = first, last or 2300, step do list[#list + 1] = ("user-%04d"):format(i) end
    return list
  end

  local function lines(...)
    local status, text = ledger.run(gateway, "keys", "list", ...)
    assert.equal(0, status, text)
    local list = {}
    for line in text:gmatch("([^\r\n]+)\r?\n") do list[#list + 1] = line end
    return list
  end

  local function ask(path) return cjson.decode(gateway:ask_admin(path)) end

  it("has all of them, each once, as JSON", function()
    assert.same(every(1, 1), names())
  end)

  it("has all of them under one heading, as CSV and as a table", function()
    for _, form in ipairs { { "--csv" }, {} } do
      local found = lines(unpack(form))
      assert.equal(2301, #found)
      assert.matches("^name", found[1]:lower())
      for i, name in ipairs(every(1, 1)) do assert.equal(name, found[i + 1]:sub(1, 9)) end
    end
  end)

  it("has columns of one width on all its pages", function()
    local found = lines()
    for _, i in ipairs { 2, 1001, 1002, 2301 } do
      assert.equal(found[1]:find("PREFIX", 1, true), found[i]:find("wk-aaaa", 1, true))
    end
  end)

  it("comes in pages to who asks for so many", function()
    assert.same(every(1, 1, 2), names("--limit", "2"))
    assert.same(every(3, 1, 4), names("--limit", "2", "--after", "user-0002"))
    local found = lines("--limit", "2")
    assert.same({ 4, "more: --after user-0002" }, { #found, found[4] })
    assert.equal(3, #lines("--limit", "2", "--after", "user-2298"))
  end)

  it("goes on behind a name", function()
    assert.same(every(1301, 1), names("--after", "user-1300"))
  end)

  it("is of one team, one state, or names that begin so", function()
    assert.same(every(10, 10), names("--team", "search"))
    assert.same({}, names("--team", "sales"))
    assert.equal(2070, #names("--team", "none"))
    assert.same(every(1, 100), names("--state", "expired"))
    assert.same(every(2, 100), names("--state", "revoked"))
    assert.equal(2254, #names("--state", "active"))
    assert.same(every(1200, 1, 1299), names("--name", "user-12"))
    assert.same({ "user-1201" }, names("--name", "user-12", "--state", "expired"))
    assert.same({}, names("--name", "user-12", "--team", "sales"))
    assert.equal("none", lines("--name", "nobody")[1])
  end)

  it("has a hundred a page over HTTP, and says where the next begins", function()
    local page = ask("/keys")
    assert.same({ 100, "user-0100" }, { #page.keys, page.next })
    page = ask("/keys?after=user-2200")
    assert.same({ 100 }, { #page.keys, page.next })
    assert.matches("\r\nx%-weir%-next: user%-0100\r\n", gateway:ask_admin("/keys?format=csv", "-i"))
  end)

  it("shows keys with the names of their teams", function()
    assert.equal("search", ask("/keys?name=user-0010").keys[1].team)
  end)

  it("is one of teams likewise", function()
    local page = ask("/teams?limit=1")
    assert.same({ "sales", "sales" }, { page.teams[1].name, page.next })
    assert.equal("search", ledger.ask(gateway, "teams", "list", "--name", "sea").teams[1].name)
  end)

  it("says what is wrong with a question", function()
    local wrong = {
      { "no team is called 'serach' (did you mean 'search'?)", "--team", "serach" },
      { "state: must be active, expired or revoked", "--state", "gone" },
      { "limit: must be a whole number from 1 to 1000", "--limit", "1001" },
      { "limit: must be a whole number from 1 to 1000", "--limit", "0" },
    }
    for _, one in ipairs(wrong) do
      local status, text = ledger.run(gateway, "keys", "list", unpack(one, 2))
      assert.equal(one[1]:find("^no ") and 1 or 2, status)
      assert.matches(one[1], text, 1, true)
    end
  end)
end)
