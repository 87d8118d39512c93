local text = require("weir.clerk_text")

describe("answers for people", function()
  local function lines(rows, columns)
    local list = {}
    for line in text.table(rows, columns):gmatch("([^\n]*)\n") do list[#list + 1] = line end
    return list
  end

  it("have numbers end together, under their names", function()
    assert.same({
      "NAME      RPM  TEAM",
      "alice      60  search",
      "bob         -  -",
      "carol  100001  -",
    }, lines({ { name = "alice", rpm = 60, team = "search" }, { name = "bob" },
      { name = "carol", rpm = 100001 } }, { "name", "rpm", "team" }))
  end)

  it("have the points of amounts below one another, and cents from a dollar on", function()
    assert.same({
      "COST",
      "$1234.57",
      "   $0.000071",
      "   $0.00",
      "           -",
    }, (function()
      local list = lines({ { cost = 1234567890 }, { cost = 71 }, { cost = 0 }, {} }, { "cost" })
      list[1] = list[1]:gsub("^ +", "")
      return list
    end)())
  end)

  it("have budgets with their periods, and counts as they were given", function()
    assert.same({ "BUDGET         TPM  RPM", "$50.00/month  100k   2m", "$5.00            1    -" },
      lines({ { budget = 50000000, period = "month", tpm = 100000, rpm = 2000000 },
        { budget = 5000000, period = "total", tpm = 1 } }, { "budget", "tpm", "rpm" }))
    assert.equal("budget      $50.00/day\nsoft        80%\n",
      text.sheet({ budget = 50000000, period = "day", soft = 0.8 }, { "budget", "soft", "team" }))
  end)

  it("have times as clocks there show them, and days of midnights", function()
    assert.same({ "TIME", "2026-11-22 18:16:50", "2026-12-01" }, lines({
      { time = "2026-11-22T18:16:50+01:00" }, { time = "2026-12-01T00:00:00-03:30" } }, { "time" }))
  end)

  it("say that there is none", function()
    assert.equal("none\n", text.table({}, { "name" }))
  end)
end)
