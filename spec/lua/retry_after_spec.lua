local retry_after = require("weir.retry_after")

local NOW = 784111777 -- 1994-11-06 08:49:37 UTC, the moment of RFC 9110's examples

local function read(value, now)
  return retry_after.read({ ["retry-after"] = value }, now or NOW - 10)
end

describe("retry_after", function()
  it("reads whole seconds and fractions", function()
    assert.equal(7, read("7"))
    assert.equal(0, read("0"))
    assert.equal(1.5, read("1.5"))
    assert.equal(20, read(" 20 "))
  end)

  it("reads the three forms of an HTTP-date as the time until then", function()
    assert.equal(10, read("Sun, 06 Nov 1994 08:49:37 GMT"))
    assert.equal(10, read("Sun Nov  6 08:49:37 1994"))
    assert.equal(5, read("Wednesday, 21-Oct-26 07:28:05 GMT", 1792567680))
  end)

  it("knows nothing of a moment that is over", function()
    assert.is_nil(read("Sun, 06 Nov 1994 08:49:37 GMT", NOW))
    assert.is_nil(read("Sun, 06 Nov 1994 08:49:37 GMT", NOW + 1))
  end)

  it("takes retry-after-ms, the finer one, first", function()
    local headers = { ["retry-after-ms"] = "20", ["retry-after"] = "1" }
    assert.equal(0.02, retry_after.read(headers, NOW))
    headers["retry-after-ms"] = "soon"
    assert.equal(1, retry_after.read(headers, NOW))
  end)

  it("knows nothing of what it cannot read", function()
    local bad = {
      "", " ", "soon", "-1", "+1", "0x10", "1e3", "inf", "nan", "1,5", "1.2.3", "10 s",
      "Sun, 06 Foo 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49 GMT", "06 Nov 1994 08:49:37 GMT",
      "Sun, 06 Nov 1994 08:49:37 CET",
    }
    for _, text in ipairs(bad) do assert.is_nil(read(text), text) end
    assert.is_nil(retry_after.read({}, NOW))
  end)

  it("reads no date without a clock", function()
    local headers = { ["retry-after"] = "Sun, 06 Nov 1994 08:49:37 GMT" }
    assert.is_nil(retry_after.read(headers, nil))
  end)

  it("ends at a day, however long the wait", function()
    assert.equal(86400, read("86401"))
    assert.equal(86400, read("99999999999999999999"))
    assert.equal(86400, read("Sun, 06 Nov 2094 08:49:37 GMT"))
    assert.equal(86400, retry_after.read({ ["retry-after-ms"] = "9999999999999" }, NOW))
  end)
end)
