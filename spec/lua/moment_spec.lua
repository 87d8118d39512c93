local moment = require("weir.moment")

local NOW = 1700000000

describe("moment.wait", function()
  --- Every form that providers.md of the project's notes names, and those beside it.
  local rows = {
    { "7", 7 }, { "0", 0 }, { "1.5", 1.5 }, { " 20 ", 20 },
    { "33011.382867097855", 33011.382867097855 }, -- Cerebras
    { "1s", 1 }, { "6m0s", 360 }, { "12ms", 0.012 }, -- OpenAI
    { "2m59.56s", 179.56 }, { "7.66s", 7.66 }, -- Groq
    { "46s", 46 }, { "10h17m5.7s", 37025.7 }, -- Gemini, in its body
    { "1h", 3600 }, { "1d2h", 93600 }, { "500us", 0.0005 }, { "500\194\181s", 0.0005 },
    { "250ns", 2.5e-7 },
    { "2023-11-14T22:13:30Z", 10 }, -- Anthropic's form
    { "2023-11-14T22:13:30.250Z", 10.25 }, { "2023-11-15T00:13:30+02:00", 10 },
    { "2023-11-14T17:13:30-05:00", 10 }, { "2023-11-14t22:13:30z", 10 },
    { "Tue, 14 Nov 2023 22:13:30 GMT", 10 }, { "Tuesday, 14-Nov-23 22:13:30 GMT", 10 },
    { "Tue Nov 14 22:13:30 2023", 10 },
    { "1700000030", 30 }, -- DigitalOcean: seconds since 1970
    { "1700000030000", 30 }, -- OpenRouter: milliseconds
    { "1700000030.5", 30.5 },
  }
  for _, row in ipairs(rows) do
    it(("reads %q"):format(row[1]), function()
      assert.is_true(math.abs(moment.wait(row[1], NOW) - row[2]) < 1e-6)
    end)
  end

  it("knows nothing of a moment that is over", function()
    for _, text in ipairs { "1600000000", "1600000000000", "2023-11-14T22:13:20Z",
      "Tue, 14 Nov 2023 22:13:19 GMT" } do
      assert.is_nil(moment.wait(text, NOW), text)
    end
  end)

  it("knows nothing of what is negative or no time", function()
    for _, text in ipairs { "", " ", "-1", "-0", "+1", "-6m0s", "soon", "0x10", "1e3", "inf", "nan",
      "1,5", "1.2.3", "10 s", "s", "5y", "6m0", "1m-2s", "2023-13-14T22:13:30Z",
      "2023-11-14T22:13:30", "2023-11-14T22:13:30+2", "Tue, 14 Foo 2023 22:13:30 GMT",
      "Tue, 14 Nov 2023 22:13 GMT", ("9"):rep(65) } do
      assert.is_nil(moment.wait(text, NOW), text)
    end
    assert.is_nil(moment.wait(nil, NOW))
  end)

  it("reads no date without a clock", function()
    for _, text in ipairs { "1700000030", "1700000030000", "2093-11-14T22:13:30Z" } do
      assert.is_nil(moment.wait(text, nil), text)
    end
    assert.equal(5, moment.wait("5s", nil))
  end)

  it("ends at a month", function()
    for _, text in ipairs { "99999999", "9999999h", "2093-11-14T22:13:30Z", "9999999999999999" } do
      assert.equal(moment.MAX, moment.wait(text, NOW), text)
    end
  end)
end)

describe("moment.date", function()
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
      ["2024-02-29T12:00:00Z"] = 1709208000,
      ["2100-03-01T00:00:00Z"] = 4107542400,
    }
    for text, seconds in pairs(days) do assert.equal(seconds, moment.date(text), text) end
  end)
end)
