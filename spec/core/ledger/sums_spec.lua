--- What rows come to, in memory.
local native = require("spec.support.native")
local C, ffi = native.load { "slice", "err", "journal", "sums" }

describe("sums", function()
  local sums

  before_each(function() sums = C.sums_new() end)
  after_each(function() C.sums_free(sums) end)

  local function add(members)
    local slot = ffi.new("struct journal_slot", { account = 3, team = 1, ended_us = 900e6 * 7 })
    for name, value in pairs(members or {}) do slot[name] = value end
    C.sums_add(sums, slot)
  end

  local function counts(at)
    local list = {}
    for i = 0, tonumber(C.SUMS_COUNTS) - 1 do
      list[i + 1] = tonumber(C.sums_at(sums, at or 0).counts[i])
    end
    return list
  end

  it("count a request once, and what its attempts used", function()
    add { status = 200, cost = 99 }
    add { is_attempt = 1, status = 200, prompt = 10, completion = 5, cached = 2, reasoning = -1,
      cost = 7 }
    add { is_attempt = 1, status = 502, prompt = -1, completion = -1, cached = -1, reasoning = -1,
      is_estimated = 1, cost = 1 }
    assert.equal(1, tonumber(C.sums_len(sums)))
    assert.same({ 1, 0, 2, 10, 5, 2, 0, 8, 1 }, counts())
    assert.equal(7, tonumber(C.sums_at(sums, 0).quarter))
  end)

  it("count what failed, or never had a status, as errors", function()
    for _, status in ipairs { 200, 404, 502, 0 } do add { status = status } end
    assert.same({ 4, 3 }, { counts()[1], counts()[2] })
  end)

  it("keep apart what differs in any of five", function()
    local others = { {}, { account = 4 }, { team = 2 }, { model = "m" }, { target = "m" },
      { ended_us = 900e6 * 8 } }
    for _ = 1, 2 do
      for _, members in ipairs(others) do add(members) end
    end
    assert.equal(#others, tonumber(C.sums_len(sums)))
    for at = 0, #others - 1 do assert.equal(2, counts(at)[1]) end
  end)

  it("grow, and lose and mix up nothing", function()
    for round = 1, 3 do
      for i = 1, 5000 do add { account = i, team = i % 7, model = "model" .. i % 13 } end
      assert.equal(5000, tonumber(C.sums_len(sums)), "round " .. round)
    end
    for at = 0, 4999 do
      assert.same({ at + 1, 3 }, { C.sums_at(sums, at).account, counts(at)[1] })
    end
  end)

  it("are empty again once they are cleared", function()
    add { account = 1 }
    C.sums_clear(sums)
    assert.equal(0, tonumber(C.sums_len(sums)))
    add { account = 2 }
    assert.same({ 2, 1 }, { C.sums_at(sums, 0).account, counts()[1] })
  end)

  it("hold names that are as long as a slot's", function()
    local long = ("x"):rep(127)
    add { model = long, target = long }
    add { model = long, target = long }
    assert.equal(1, tonumber(C.sums_len(sums)))
    assert.equal(long, ffi.string(C.sums_at(sums, 0).model))
  end)
end)
