local native = require("spec.support.native")
local C, ffi = native.load { "slice", "buf", "quota", "lane", "need", "limit", "grant", "keep" }

local SECOND = 1000000
local NOW, WALL = 5000 * SECOND, 1767225600 * SECOND

local function slice(text)
  return ffi.new("struct slice", { text, #text })
end

describe("the file of limits", function()
  local tables, kept

  before_each(function() tables, kept = {}, {} end)
  after_each(function()
    for _, limits in ipairs(tables) do C.limits_free(limits) end
  end)

  local function new()
    tables[#tables + 1] = C.limits_new()
    return tables[#tables]
  end

  local function target(model, keys, rpd)
    local rules = ffi.new("struct limits_rules")
    rules.windows[C.WINDOW_RPD] = rpd or 0
    kept[#kept + 1] = { rules, model }
    return C.limits_target(slice("groq"), slice(model), keys or 1, rules)
  end

  local function take(limits, of, now, insists)
    local grant, wait = ffi.new("struct grant"), ffi.new("struct limits_wait")
    return C.grant_take(limits, of, 1, insists or false, now or NOW, grant, wait) and grant
  end

  local function cool(limits, of, seconds)
    local grant = take(limits, of, NOW, true)
    local failure = ffi.new("struct grant_failure", { scope = C.GRANT_OF_KEY_AND_MODEL,
      reason = "rate_limited", dimension = "rpm", wait_us = seconds * SECOND, is_said = true })
    C.grant_fail(limits, grant, failure, NOW)
    C.grant_end(limits, grant, 0, true, NOW)
  end

  local function tell(limits, of, dimension, limit, left, seconds)
    local grant = take(limits, of)
    local word = ffi.new("struct quota_word[1]", { { dimension = dimension, limit = limit,
      left = left, wait_us = seconds * SECOND } })
    C.grant_hear(limits, grant, word, 1, NOW)
    C.grant_end(limits, grant, 0, true, NOW)
  end

  local function text_of(limits, now)
    local out = ffi.new("struct buf")
    C.keep_write(limits, now or NOW, WALL, out)
    local text = ffi.string(out.ptr, out.len)
    C.buf_free(out)
    return text
  end

  --- A table that read this text so many seconds later, on a machine whose clock begins elsewhere.
  local function restarted(text, seconds, now)
    local limits = new()
    local why = C.keep_read(limits, slice(text), now or SECOND, WALL + (seconds or 0) * SECOND)
    return limits, why ~= nil and ffi.string(why) or nil
  end

  local function wait_of(limits, of, now)
    local wait = ffi.new("struct limits_wait")
    now = now or SECOND
    if C.limits_check(limits, of, 1, now, wait) then return nil end
    return tonumber(wait.until_us - now) / SECOND, ffi.string(wait.reason)
  end

  it("keeps what is left of a cooldown", function()
    local before = new()
    cool(before, target("a"), 30)
    local after = restarted(text_of(before), 10)
    assert.same({ 20, "rate_limited" }, { wait_of(after, target("a")) })
    assert.is_nil((wait_of(after, target("b"))))
  end)

  it("keeps that one attempt is to find out, when the cooldown is over by then", function()
    local before = new()
    cool(before, target("a"), 30)
    local after = restarted(text_of(before), 40)
    assert.truthy(take(after, target("a"), SECOND))
    assert.is_false(take(after, target("a"), SECOND))
  end)

  it("makes no cooldown longer when the wall clock goes back", function()
    local before = new()
    cool(before, target("a"), 30)
    assert.equal(30, (wait_of(restarted(text_of(before), -3600), target("a"))))
  end)

  it("keeps quotas that were told, and forgets them at their reset", function()
    local before, quota = new(), ffi.new("struct limits_quota")
    tell(before, target("a"), C.QUOTA_RPD, 1000, 7, 500)
    local after = restarted(text_of(before), 100)
    assert.is_true(C.limits_quota(after, target("a"), C.QUOTA_RPD, SECOND, quota))
    assert.same({ 1000, 7, 400 }, { tonumber(quota.limit), tonumber(quota.left),
      tonumber(quota.reset_us - SECOND) / SECOND })
    after = restarted(text_of(before), 501)
    assert.is_false(C.limits_quota(after, target("a"), C.QUOTA_RPD, SECOND, quota))
  end)

  it("keeps what was counted of a day, over a reboot too", function()
    local before, of = new(), target("a", 1, 3)
    for _ = 1, 3 do C.grant_end(before, take(before, of), 0, true, NOW) end
    local after = restarted(text_of(before), 3600)
    local seconds = wait_of(after, of)
    assert.is_true(seconds > 86400 - 3600 - 1440 and seconds <= 86400 - 3600 + 1440, seconds)
    assert.is_nil((wait_of(restarted(text_of(before), 86400 + 1440), of)))
  end)

  it("holds names of any bytes", function()
    local before = new()
    for _, model in ipairs { "a b", "é/%", "-", "x\ny" } do
      cool(before, target(model), 30)
      assert.equal(30, (wait_of(restarted(text_of(before)), target(model))))
    end
  end)

  it("keeps the same when it is written and read again", function()
    local before = new()
    cool(before, target("a", 3), 30)
    cool(before, target("b", 2), 300)
    tell(before, target("c"), C.QUOTA_TPM, 6000, 0, 12)
    C.grant_end(before, take(before, target("d", 1, 10)), 0, true, NOW)
    local text = text_of(before)
    assert.equal(text, text_of(restarted(text, 0, NOW), NOW))
  end)

  it("is believed whole or not at all", function()
    local before = new()
    cool(before, target("a"), 30)
    local text = text_of(before)
    for cut = 0, #text - 1 do
      local after, why = restarted(text:sub(1, cut))
      assert.truthy(why)
      assert.is_nil((wait_of(after, target("a"))))
    end
    for at = 1, #text do
      local changed = text:sub(1, at - 1) .. string.char((text:byte(at) + 1) % 256)
        .. text:sub(at + 1)
      assert.truthy((select(2, restarted(changed))), at)
    end
  end)

  it("says why it is not believed", function()
    assert.equal("it is torn, or none of ours", (select(2, restarted("hello\n"))))
    assert.equal("it is torn, or none of ours", (select(2, restarted(""))))
  end)
end)
