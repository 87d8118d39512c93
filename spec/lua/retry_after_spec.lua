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

  it("knows the calendar", function()
    local days = {
      ["Thu, 01 Jan 1970 00:00:00 GMT"] = 0,
      ["Tue, 29 Feb 2000 23:59:59 GMT"] = 951868799,
      ["Wed, 01 Mar 2000 00:00:00 GMT"] = 951868800,
      ["Thu, 29 Feb 2024 12:00:00 GMT"] = 1709208000,
      ["Fri, 31 Jan 2025 00:00:00 GMT"] = 1738281600,
      ["Tue, 15 Apr 2025 00:00:00 GMT"] = 1744675200,
      ["Thu, 15 May 2025 00:00:00 GMT"] = 1747267200,
      ["Sun, 15 Jun 2025 00:00:00 GMT"] = 1749945600,
      ["Tue, 15 Jul 2025 00:00:00 GMT"] = 1752537600,
      ["Fri, 15 Aug 2025 00:00:00 GMT"] = 1755216000,
      ["Mon, 15 Sep 2025 00:00:00 GMT"] = 1757894400,
      ["Wed, 15 Oct 2025 00:00:00 GMT"] = 1760486400,
      ["Sat, 15 Nov 2025 00:00:00 GMT"] = 1763164800,
      ["Mon, 01 Mar 2100 00:00:00 GMT"] = 4107542400, -- 2100 has no leap day
      ["Fri, 31 Dec 2038 23:59:59 GMT"] = 2177452799,
    }
    for text, seconds in pairs(days) do assert.equal(seconds, retry_after.date(text), text) end
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
