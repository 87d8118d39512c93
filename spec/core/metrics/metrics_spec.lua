local native = require("spec.support.native")

local C, ffi = native.load { "slice", "err", "buf", "metrics" }

local function slice(text)
  return ffi.new("struct slice", text, #text)
end

local function take(buf)
  local text = buf.len > 0 and ffi.string(buf.ptr, buf.len) or ""
  C.buf_free(buf)
  return text
end

local DROPPED = "# HELP weir_metrics_dropped_total What policies counted and found no room.\n"
  .. "# TYPE weir_metrics_dropped_total counter\nweir_metrics_dropped_total %d\n"

describe("metrics", function()
  local metrics

  before_each(function() metrics = C.metrics_new() end)
  after_each(function() C.metrics_free(metrics) end)

  local function add(series, by) C.metrics_add(metrics, slice(series), by or 1) end

  local function written()
    local out = ffi.new("struct buf[1]")
    C.metrics_write(metrics, out)
    return take(out[0])
  end

  local function label(value, more)
    local series = ffi.new("struct buf[1]")
    C.buf_add(series, slice("x"))
    C.metrics_add_label(series, slice("team"), slice(value))
    if more then C.metrics_add_label(series, slice("b"), slice(more)) end
    return take(series[0])
  end

  it("sum what was added, each series apart", function()
    add('x_total{a="1"}')
    add('x_total{a="2"}', 2.5)
    add('x_total{a="1"}', 3)
    assert.equal('# TYPE x_total counter\nx_total{a="1"} 4\nx_total{a="2"} 2.5\n'
      .. DROPPED:format(0), written())
  end)

  it("stand together by name", function()
    for _, series in ipairs { "ab_total", 'a_total{l="z"}', "a_total", 'a_total{l="b"}' } do
      add(series)
    end
    assert.equal('# TYPE a_total counter\na_total 1\na_total{l="b"} 1\na_total{l="z"} 1\n'
      .. "# TYPE ab_total counter\nab_total 1\n" .. DROPPED:format(0), written())
  end)

  it("count large sums whole", function()
    add("x_total", 123456789012)
    assert.truthy(written():find("x_total 123456789012\n", 1, true))
  end)

  it("take no more series than there is room for, and say so", function()
    for i = 1, 3000 do add("x" .. i .. "_total") end
    local text = written()
    local kept = select(2, text:gsub("\nx%d+_total 1", "\n"))
    local dropped = tonumber(text:match("\nweir_metrics_dropped_total (%d+)"))
    assert.is_true(kept > 900 and kept <= 1024, kept)
    assert.equal(3000, kept + dropped)
    add("x1_total") -- one that has its place keeps it
    assert.truthy(written():find("x1_total 2\n", 1, true))
  end)

  it("drop a series that is too long", function()
    add(("x"):rep(257))
    assert.equal(DROPPED:format(1), written())
  end)

  it("add labels to a series", function()
    assert.equal('x{team="red",b="2"', label("red", "2"))
  end)

  it("escape what a label's value holds", function()
    assert.equal([[x{team="a\\b\"c d"]], label('a\\b"c\nd'))
    assert.equal('x{team="é\239\191\189"', label("é\255"))
  end)

  it("cut a label's value", function()
    assert.equal('x{team="' .. ("y"):rep(64) .. '"', label(("y"):rep(100)))
  end)
end)
