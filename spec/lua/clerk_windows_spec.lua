--- The windows of budgets, as the clerk keeps them in time.

local clerk_windows = require("weir.clerk_windows")

describe("the clerk's windows", function()
  local host, windows, rows, purses, sums, is_settled, asked, breaths

  before_each(function()
    rows, purses, sums, is_settled, asked, breaths = {}, {}, {}, true, 0, 0
    host = {
      now = function() return 1000 end,
      window = function(period) return 900, period == "day" and 1800 or 9000, 18000 end,
      breathe = function() breaths = breaths + 1 end,
      aside = function(give, sql, id)
        if sql:find("^SELECT id, kind, period") then
          for _, row in ipairs(rows) do if row.period == id then give(row) end end
        elseif sql:find("sum(", 1, true) then
          asked = asked + 1
          give { spent = sums[id] }
        end
      end,
      sums = function(give)
        asked = asked + 1
        for id, cost in pairs(sums) do give { key = id, team = 0, cost = cost } end
      end,
      settle = function() return is_settled end,
      total = function(id) return purses[id].total end,
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
    windows = clerk_windows(host)
  end)

  local function add(starts, renews, spent)
    local id = #rows + 1
    rows[id] = { id = id, kind = "key", period = "day" }
    purses[id] = { total = spent, spent = spent, starts = starts, renews = renews, next = 0 }
    sums[id] = id
  end

  it("are told when the one after them ends", function()
    add(900, 1800, 7)
    windows.turn()
    assert.equal(18000, purses[1].next)
    assert.equal(7, purses[1].spent)
    assert.equal(0, asked)
  end)

  it("are summed up anew where another runs than the calendar's", function()
    add(800, 1700, 7)
    windows.turn()
    assert.same({ total = 7, spent = 1, starts = 900, renews = 1800, next = 18000 }, purses[1])
  end)

  it("are summed up at once where they are many", function()
    for _ = 1, 100 do add(800, 1700, 7) end
    windows.turn()
    for id = 1, 100 do assert.equal(id, purses[id].spent) end
    assert.equal(1, asked)
  end)

  it("have what is spent while they are summed up", function()
    local spend = function() purses[#rows].total = purses[#rows].total + 5 end
    local aside, sums_of = host.aside, host.sums
    host.sums = function(...) spend(sums_of(...)) end
    host.aside = function(give, sql, ...)
      aside(give, sql, ...)
      if sql:find("sum(", 1, true) then spend() end
    end
    for _, count in ipairs { 1, 50 } do
      for _ = 1, count do add(800, 1700, 7) end
      windows.turn()
      assert.same({ 12, #rows + 5 }, { purses[#rows].total, purses[#rows].spent })
      windows = clerk_windows(host)
      for id = 1, #rows do purses[id].starts = 800 end
    end
  end)

  it("are told and summed up while rows are written, where they are many", function()
    for _ = 1, 1000 do add(800, 1700, 7) end
    windows.turn()
    assert.equal(4, breaths)
  end)

  it("are tried again where the ledger does not have all", function()
    for count = 1, 2 do
      for _ = 1, count == 1 and 1 or 50 do add(800, 1700, 7) end
      is_settled = false
      windows.turn()
      is_settled = true
      windows.turn()
      assert.same({ #rows, 1800 }, { purses[#rows].spent, purses[#rows].renews })
      for id = 1, #rows do purses[id].starts = 800 end
      windows = clerk_windows(host)
    end
  end)

  it("of a period that was changed are tried until the ledger has all", function()
    add(800, 1700, 7)
    local row = { id = 1, kind = "key", period = "total" }
    rows[1], is_settled = row, false
    windows.change(row)
    windows.turn()
    assert.same({ 7, 800 }, { purses[1].spent, purses[1].starts })
    is_settled = true
    windows.turn()
    assert.same({ 1, 900 }, { purses[1].spent, purses[1].starts })
    purses[1].starts = 0
    windows.turn()
    assert.equal(0, purses[1].starts)
  end)

  it("of a period that was changed when a clerk was killed are the next one's to mend", function()
    add(800, 1700, 7)
    rows[1].period = "total"
    windows.turn()
    assert.same({ 1, 900 }, { purses[1].spent, purses[1].starts })
  end)

  it("are summed up anew where they began at another time, as in another time zone", function()
    add(900, 1800, 7)
    windows.turn()
    host.window = function() return 800, 1800, 18000 end
    windows.turn()
    assert.same({ 800, 1800, 1 }, { purses[1].starts, purses[1].renews, purses[1].spent })
  end)

  it("that end are looked at once", function()
    add(900, 1800, 7)
    windows.turn()
    local before = purses[1]
    before.next = 0
    windows.turn()
    assert.equal(0, before.next)
  end)
end)
