--- Days, weeks and months of budgets, in zones whose clocks are put forward and back.
local native = require("spec.support.native")
local C, ffi = native.load { "period" }

pcall(ffi.cdef, [[
  int setenv(const char *name, const char *value, int overwrite);
  int unsetenv(const char *name);
  void tzset(void);
]])

local HOUR, DAY = 3600, 86400

describe("period", function()
  local zone

  before_each(function() zone = os.getenv("TZ") end)
  after_each(function()
    if zone then ffi.C.setenv("TZ", zone, 1) else ffi.C.unsetenv("TZ") end
    ffi.C.tzset()
  end)

  local function live_in(name)
    ffi.C.setenv("TZ", name, 1)
    ffi.C.tzset()
  end

  local function start(period, at, later)
    return tonumber(C.period_start(period, at, later or 0))
  end

  --- Seconds since 1970 of a time in UTC.
  local function utc(year, month, day, hour)
    local days = 0
    for y = 1970, year - 1 do days = days + (y % 4 == 0 and 366 or 365) end
    local lengths = { 31, year % 4 == 0 and 29 or 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 }
    for m = 1, month - 1 do days = days + lengths[m] end
    return (days + day - 1) * DAY + (hour or 0) * HOUR
  end

  it("has days of 23 and of 25 hours where clocks are changed", function()
    live_in("Europe/Berlin")
    local spring, autumn = utc(2026, 3, 29, 12), utc(2026, 10, 25, 12)
    assert.equal(utc(2026, 3, 28, 23), start("day", spring))
    assert.equal(23 * HOUR, start("day", spring, 1) - start("day", spring))
    assert.equal(25 * HOUR, start("day", autumn, 1) - start("day", autumn))
  end)

  it("has months as long as they are, whichever day it is asked on", function()
    live_in("UTC")
    for _, at in ipairs { utc(2028, 1, 31, 23), utc(2028, 1, 1), utc(2028, 1, 29) } do
      assert.equal(utc(2028, 1, 1), start("month", at))
      assert.equal(utc(2028, 2, 1), start("month", at, 1))
      assert.equal(utc(2028, 3, 1), start("month", at, 2))
    end
    assert.equal(utc(2027, 1, 1), start("month", utc(2026, 12, 31, 23), 1))
  end)

  it("has weeks that begin on Monday, over the end of a year as well", function()
    live_in("UTC")
    assert.equal(utc(2026, 12, 28), start("week", utc(2027, 1, 3, 23)))
    assert.equal(utc(2027, 1, 4), start("week", utc(2027, 1, 3, 23), 1))
    assert.equal(utc(2027, 1, 4), start("week", utc(2027, 1, 4)))
  end)

  it("begins a day that has no midnight with its first hour", function()
    live_in("America/Sao_Paulo")
    local first = utc(2018, 11, 4, 3) -- 01:00; one second before it was 23:59:59
    assert.equal(first, start("day", first + 5 * HOUR))
    assert.equal(first, start("day", first - 1, 1))
    assert.equal(first - DAY, start("day", first - 1))
  end)

  it("begins a day that has two midnights with the first of them", function()
    live_in("America/Havana")
    local first = utc(2026, 11, 1, 4) -- at 01:00 it becomes 00:00 once more
    for _, at in ipairs { first, first + HOUR, first + 20 * HOUR } do
      assert.equal(first, start("day", at))
    end
    assert.equal(first + 25 * HOUR, start("day", first, 1))
  end)

  for _, name in ipairs { "UTC", "Europe/Berlin", "America/Sao_Paulo", "America/Havana",
    "Australia/Lord_Howe", "Asia/Kathmandu", "Asia/Beirut", "Africa/Cairo", "Pacific/Apia" } do
    it("leaves no instant out and none in two: " .. name, function()
      live_in(name)
      for _, period in ipairs { "day", "week", "month" } do
        for at = utc(2018, 1, 1), utc(2019, 2, 1), 7 * HOUR + 900 do
          local from, to = start(period, at), start(period, at, 1)
          assert.is_true(from <= at and at < to, ("%s at %d: %d %d"):format(period, at, from, to))
          assert.equal(to, start(period, to))
          assert.equal(from, start(period, to - 1))
          assert.equal(start(period, at, 2), start(period, to, 1))
        end
      end
    end)
  end
end)
