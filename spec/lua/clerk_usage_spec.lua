local clerk_usage = require("weir.clerk_usage")

describe("usage", function()
  local rows, asked

  local function host()
    return {
      now = function() return 1000000000 end,
      window = function(_, at) return at - at % 86400, at - at % 86400 + 86400 end,
      date = function(_, at) return "day " .. at / 86400 end,
      name = function(id) return id > 0 and "account-" .. id or nil end,
      settle = function() return true end,
      array = function(list) return list end,
      sums = function(give, of_days, since, ends, only, ...)
        assert.same({}, only)
        asked = { of_days = of_days, since = since, ends = ends, by = { ... } }
        for _, row in ipairs(rows) do give(row) end
      end,
    }
  end

  local function sums(query)
    return clerk_usage(host(), function() end).sums(query)
  end

  before_each(function() rows, asked = {}, nil end)

  it("names keys, teams and days, the dearest first", function()
    rows = { { key = 2, team = 0, day = 864000, cost = 5, requests = 1 },
      { key = 3, team = 7, day = 864000, cost = 9, requests = 1 } }
    local list, columns = sums { by = "key,team,day" }
    assert.same({ "account-3", "account-7", "day 10" }, { list[1].key, list[1].team, list[1].day })
    assert.same({ "account-2", "-" }, { list[2].key, list[2].team })
    assert.same({ "key", "team", "day", "requests" }, { unpack(columns, 1, 4) })
  end)

  it("asks for whole days where it is longer than two", function()
    sums { by = "team,model", since = "48h" }
    assert.same({ "team", "model" }, asked.by)
    assert.same({ false, 1000000000 - 48 * 3600 }, { asked.of_days, asked.since })
    sums { since = "3d" }
    local start = 1000000000 - 3 * 86400
    assert.same({ of_days = true, since = start - start % 86400, ends = math.huge,
      by = { "key" } }, asked)
  end)

  it("ends where until says, with its day where it is long", function()
    sums { ["until"] = "9d" }
    local start = 1000000000 - 39 * 86400
    assert.same({ true, start - start % 86400 }, { asked.of_days, asked.since })
    sums { since = "100d", ["until"] = "99d" }
    assert.same({ of_days = false, since = 1000000000 - 100 * 86400,
      ends = 1000000000 - 99 * 86400, by = { "key" } }, asked)
    local midnight = 1000000000 - 1000000000 % 86400
    sums { since = "9d", ["until"] = "60m" }
    assert.same({ true, midnight + 86400 }, { asked.of_days, asked.ends })
    sums { since = "9d", ["until"] = "today" }
    assert.same({ true, midnight }, { asked.of_days, asked.ends })
    local ok, refused = pcall(sums, { since = "1d", ["until"] = "2d" })
    assert.is_false(ok)
    assert.same({ 400, "until: must be later than since" }, { refused.status, refused.message })
  end)

  it("refuses more sums than the clerk has time for", function()
    for i = 1, 50000 do rows[i] = { target = "t" .. i, cost = i, requests = 1 } end
    assert.equal(50000, #sums { by = "target" })
    rows[50001] = { target = "one more", cost = 1, requests = 1 }
    local ok, refused = pcall(sums, { by = "target" })
    assert.is_false(ok)
    assert.equal(400, refused.status)
    assert.matches("more than 50000 sums: name fewer", refused.message)
  end)
end)
