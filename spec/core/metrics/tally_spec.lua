local native = require("spec.support.native")

local C, ffi = native.load { "slice", "err", "buf", "tally" }

local function slice(text)
  return ffi.new("struct slice", text, #text)
end

describe("tally", function()
  local tallies

  before_each(function() tallies = C.tallies_new() end)
  after_each(function() C.tallies_free(tallies) end)

  local function series(kind, name) return C.tally_of(tallies, kind, slice(name)) end

  local function written()
    local out = ffi.new("struct buf[1]")
    C.tallies_write(tallies, out)
    local text = ffi.string(out[0].ptr, out[0].len)
    C.buf_free(out)
    return text
  end

  local function line(text, start)
    return ("\n" .. text):match("\n" .. start:gsub("%p", "%%%0") .. " (%S+)")
  end

  it("counts, and finds a series again", function()
    C.tally_count(series(C.TALLY_COUNT, 'x_total{a="1"}'), 2)
    C.tally_count(series(C.TALLY_COUNT, 'x_total{a="1"}'), 3)
    C.tally_count(series(C.TALLY_COUNT, 'x_total{a="2"}'), 1)
    assert.equal('# TYPE x_total counter\nx_total{a="1"} 5\nx_total{a="2"} 1\n'
      .. "# HELP weir_series_dropped_total What found no room among the gateway's own series.\n"
      .. "# TYPE weir_series_dropped_total counter\nweir_series_dropped_total 0\n", written())
  end)

  it("puts a value into its bucket, the bound included", function()
    local tally = series(C.TALLY_TOKENS, 'tokens{p="a"}')
    for _, value in ipairs { 0, 1, 2, 4, 5, 1e9 } do C.tally_observe(tally, value) end
    local text = written()
    assert.equal("2", line(text, 'tokens_bucket{p="a",le="1"}'))
    assert.equal("4", line(text, 'tokens_bucket{p="a",le="4"}'))
    assert.equal("5", line(text, 'tokens_bucket{p="a",le="16"}'))
    assert.equal("5", line(text, 'tokens_bucket{p="a",le="67108864"}'))
    assert.equal("6", line(text, 'tokens_bucket{p="a",le="+Inf"}'))
    assert.equal("6", line(text, 'tokens_count{p="a"}'))
    assert.equal("1000000012", line(text, 'tokens_sum{p="a"}'))
  end)

  it("writes times in seconds, also without labels", function()
    C.tally_observe(series(C.TALLY_DURATION, "d_seconds"), 1500000)
    local text = written()
    assert.truthy(text:find("# TYPE d_seconds histogram\n", 1, true))
    assert.equal("0", line(text, 'd_seconds_bucket{le="1.28"}'))
    assert.equal("1", line(text, 'd_seconds_bucket{le="2.56"}'))
    assert.equal("1.5", line(text, "d_seconds_sum"))
  end)

  it("writes money in dollars, to the last micro-dollar", function()
    local cost = series(C.TALLY_MONEY, 'cost_dollars_total{p="a"}')
    C.tally_count(cost, 12000000)
    C.tally_count(cost, 345679)
    local text = written()
    assert.truthy(text:find("# TYPE cost_dollars_total counter\n", 1, true))
    assert.equal("12.345679", line(text, 'cost_dollars_total{p="a"}'))
  end)

  it("has buckets that only grow, of every kind", function()
    for kind = C.TALLY_DURATION, C.TALLY_TOKENS do
      local name = "k" .. kind
      for value = 0, 30 do C.tally_observe(series(kind, name), 2 ^ value) end
      local last, buckets, bound = 0, 0, -1
      for le, count in written():gmatch(name .. '_bucket{le="(%S+)"} (%d+)') do
        assert.is_true(tonumber(count) >= last and (tonumber(le) or math.huge) > bound)
        last, bound, buckets = tonumber(count), tonumber(le) or math.huge, buckets + 1
      end
      assert.equal(31, last)
      assert.is_true(buckets >= 15)
    end
  end)

  it("takes what a request has gathered", function()
    local batch = ffi.new("struct tally_batch")
    for _, us in ipairs { 500, 500, 40000, 9000000 } do C.tally_batch_add(batch, us) end
    C.tally_take_batch(series(C.TALLY_BETWEEN, "b"), batch)
    local text = written()
    assert.equal("2", line(text, 'b_bucket{le="0.001"}'))
    assert.equal("3", line(text, 'b_bucket{le="0.05"}'))
    assert.equal("4", line(text, "b_count"))
    assert.equal("9.041", line(text, "b_sum"))
  end)

  it("counts what finds no place, and goes on", function()
    for i = 1, C.TALLY_SERIES + 100 do
      C.tally_count(series(C.TALLY_COUNT, "s" .. i), 1)
    end
    C.tally_observe(series(C.TALLY_TOKENS, ("x"):rep(C.TALLY_NAME_MAX + 1)), 1)
    assert.is_true(tonumber(line(written(), "weir_series_dropped_total")) > 100)
  end)

  it("says what a worker is at", function()
    local pulse = ffi.new("struct tally_pulse", { in_flight = 3, waiting = 1, connections = 7 })
    C.tallies_beat(tallies, 2, pulse)
    assert.equal(3, tonumber(C.tallies_pulse(tallies, 2).in_flight))
    assert.equal(0, tonumber(C.tallies_pulse(tallies, 1).connections))
  end)
end)
