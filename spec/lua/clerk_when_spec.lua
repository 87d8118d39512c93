local when = require("weir.clerk_when")

describe("moments of usage", function()
  -- 2026-03-29, 12:00 UTC: that night Berlin's clocks went from 2:00 to 3:00.
  local NOW, CHANGE = 1774785600, 1774746000

  local function offset(at) return at >= CHANGE and 7200 or 3600 end

  local berlin = {
    now = function() return NOW end,
    date = function(format, at)
      return format == "%z" and ("+%02d00"):format(offset(at) / 3600)
        or os.date("!" .. format, at + offset(at))
    end,
    window = function(_, at)
      local shown = at + offset(at)
      local midnight = shown - shown % 86400
      return midnight - offset(midnight - 3600)
    end,
  }

  local function utc(at) return at and os.date("!%Y-%m-%dT%H:%M:%S", at) end

  it("are so long ago", function()
    assert.equal(NOW - 7 * 86400, when.past(berlin, "7d"))
    assert.equal(NOW - 1800, when.past(berlin, "30m"))
  end)

  it("are written as RFC 3339 has them", function()
    assert.equal("2026-03-29T14:00:00+02:00", when.stamp(berlin, NOW))
    assert.equal("2026-03-28T13:00:00+01:00", when.stamp(berlin, NOW - 86400))
    assert.equal(NOW, when.past(berlin, when.stamp(berlin, NOW)))
  end)

  it("are days that begin at midnight of the ledger's zone", function()
    assert.equal("2026-03-28T23:00:00", utc(when.past(berlin, "today")))
    assert.equal("2026-03-27T23:00:00", utc(when.past(berlin, "yesterday")))
    assert.equal("2026-03-29T22:00:00", utc(when.future(berlin, "tomorrow")))
    assert.equal("2026-03-28T23:00:00", utc(when.past(berlin, "2026-03-29")))
    assert.equal("2024-02-28T23:00:00", utc(when.past(berlin, "2024-02-29")))
    assert.equal("2000-02-29T23:00:00", utc(when.past(berlin, "2000-03-01")))
    assert.equal("1999-12-31T23:00:00", utc(when.past(berlin, "2000-01-01")))
  end)

  it("are times of day, as clocks there show them", function()
    assert.equal("2026-03-29T12:03:00", utc(when.past(berlin, "14:03")))
    assert.equal("2026-03-29T07:03:09", utc(when.past(berlin, "9:03:09")))
    assert.equal("2026-03-28T13:03:00", utc(when.past(berlin, "2026-03-28T14:03")))
    assert.equal("2026-03-28T13:03:05", utc(when.past(berlin, "2026-03-28 14:03:05")))
  end)

  it("are of another zone that they name, as answers do", function()
    assert.equal("2026-03-28T14:03:00", utc(when.past(berlin, "2026-03-28T14:03Z")))
    assert.equal("2026-03-28T13:03:05", utc(when.past(berlin, "2026-03-28T14:03:05+0100")))
    assert.equal("2026-03-28T19:33:00", utc(when.past(berlin, "2026-03-28T14:03-05:30")))
  end)

  it("are none that no calendar and no clock has", function()
    for _, text in ipairs { "", "7", "7y", "Yesterdya", "2026-02-29", "2026-13-01", "2026-11-31",
      "2026-11-00", "1969-12-31", "2026-11-1", "24:00", "12:60", "14:03:60", "2026-03-28T14",
      "2026-03-28T14:03+1", "2026-03-28x", "2026-03-28T14:03:05 Z" } do
      local at, problem = when.past(berlin, text)
      assert.is_nil(at, text)
      assert.matches("^must be a time ago", problem)
    end
  end)

  it("are to come where a key expires", function()
    assert.equal(NOW + 90 * 86400, when.future(berlin, "90d"))
    assert.equal("2026-05-31T22:00:00", utc(when.future(berlin, "2026-06-01")))
    assert.same({ nil, "'2026-01-31' is past" }, { when.future(berlin, "2026-01-31") })
    assert.matches("^must be a time from now", select(2, when.future(berlin, "soon")))
    assert.matches("^must be a time from now", select(2, when.future(berlin, true)))
  end)
end)
