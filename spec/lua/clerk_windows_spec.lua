--- The windows of budgets, as the clerk keeps them in time.

local clerk_keys = require("weir.clerk_keys")

describe("the clerk's windows", function()
  local host, keys, rows, purses, sums, is_settled, asked

  before_each(function()
    rows, purses, sums, is_settled, asked = {}, {}, {}, true, 0
    host = {
      now = function() return 1000 end,
      window = function(period) return 900, period == "day" and 1800 or 9000, 18000 end,
      each = function(give, sql, id)
        if sql:find("^SELECT id, kind, period") then
          for _, row in ipairs(rows) do if row.period == id then give(row) end end
        elseif sql:find("sum(cost)", 1, true) then
          asked = asked + 1
          give { spent = sums[id] }
        end
      end,
      sums = function(give)
        asked = asked + 1
        for id, cost in pairs(sums) do give { key = id, team = 0, cost = cost } end
      end,
      settle = function() return is_settled end,
      purse = function(id) return { total = purses[id].total } end,
      renew = function(id, starts, renews, next)
        local purse = purses[id]
        if purse.starts ~= starts or purse.renews ~= renews then return false end
        purse.next = next
        return true
      end,
      set_purse = function(id, purse)
        if purse.total ~= purses[id].total then return false end
        purses[id] = purse
        return true
      end,
    }
    keys = clerk_keys(host)
  end)

  local function add(starts, renews, spent)
    local id = #rows + 1
    rows[id] = { id = id, kind = "key", period = "day" }
    purses[id] = { total = spent, spent = spent, starts = starts, renews = renews, next = 0 }
    sums[id] = id
  end

  it("are told when the one after them ends", function()
    add(900, 1800, 7)
    keys.turn()
    assert.equal(18000, purses[1].next)
    assert.equal(7, purses[1].spent)
    assert.equal(0, asked)
  end)

  it("are summed up anew where another runs than the calendar's", function()
    add(800, 1700, 7)
    keys.turn()
    assert.same({ total = 7, spent = 1, starts = 900, renews = 1800, next = 18000 }, purses[1])
  end)

  it("are summed up at once where they are many", function()
    for _ = 1, 100 do add(800, 1700, 7) end
    keys.turn()
    for id = 1, 100 do assert.equal(id, purses[id].spent) end
    assert.equal(1, asked)
  end)

  it("are tried again where the ledger does not have all", function()
    for count = 1, 2 do
      for _ = 1, count == 1 and 1 or 50 do add(800, 1700, 7) end
      is_settled = false
      keys.turn()
      is_settled = true
      keys.turn()
      assert.same({ #rows, 1800 }, { purses[#rows].spent, purses[#rows].renews })
      for id = 1, #rows do purses[id].starts = 800 end
      keys = clerk_keys(host)
    end
  end)

  it("are summed up anew where they began at another time, as in another time zone", function()
    add(900, 1800, 7)
    keys.turn()
    host.window = function() return 800, 1800, 18000 end
    keys.turn()
    assert.same({ 800, 1800, 1 }, { purses[1].starts, purses[1].renews, purses[1].spent })
  end)

  it("that end are looked at once", function()
    add(900, 1800, 7)
    keys.turn()
    local before = purses[1]
    before.next = 0
    keys.turn()
    assert.equal(0, before.next)
  end)
end)
