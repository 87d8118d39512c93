local native = require("spec.support.native")
local C, ffi = native.load { "slice", "quota", "lane", "need", "limit", "grant" }

local SECOND, MINUTE, DAY = 1000000, 60 * 1000000, 86400 * 1000000
local NOW = 1000 * SECOND

local function slice(text)
  return ffi.new("struct slice", { text, #text })
end

describe("limits", function()
  local limits, kept

  before_each(function()
    limits, kept = C.limits_new(), {}
  end)
  after_each(function() C.limits_free(limits) end)

  --- options: keys, and of each key rpm, rpd, tpm, tpd, concurrent
  local function target(model, options)
    options = options or {}
    local rules = ffi.new("struct limits_rules")
    rules.windows[C.WINDOW_RPM], rules.windows[C.WINDOW_RPD] = options.rpm or 0, options.rpd or 0
    rules.windows[C.WINDOW_TPM], rules.windows[C.WINDOW_TPD] = options.tpm or 0, options.tpd or 0
    rules.concurrent = options.concurrent or 0
    kept[#kept + 1] = { rules, model }
    return C.limits_target(slice("groq"), slice(model), options.keys or 1, rules)
  end

  --- Whether it is free; else why not, and in how many seconds it is.
  local function check(of, now, tokens)
    local wait = ffi.new("struct limits_wait")
    if C.limits_check(limits, of, tokens or 1, now or NOW, wait) then return true end
    return false, tonumber(wait.block), tonumber(wait.until_us - (now or NOW)) / SECOND,
      ffi.string(wait.reason)
  end

  local function take(of, now, tokens, insists)
    local grant, wait = ffi.new("struct grant"), ffi.new("struct limits_wait")
    if C.grant_take(limits, of, tokens or 1, insists or false, now or NOW, grant, wait) then
      return grant
    end
    return nil, tonumber(wait.block), tonumber(wait.until_us - (now or NOW)) / SECOND
  end

  local function finish(grant, now, tokens, was_sent)
    C.grant_end(limits, grant, tokens or -1, was_sent ~= false, now or NOW)
  end

  local function fail(grant, options)
    local reason = options.reason or "rate_limited"
    local failure = ffi.new("struct grant_failure", {
      scope = options.scope or C.GRANT_OF_KEY_AND_MODEL, reason = reason,
      wait_us = options.wait * SECOND, is_said = options.is_said ~= false,
    })
    kept[#kept + 1] = reason
    return tonumber(C.grant_fail(limits, grant, failure, options.now or NOW)) / SECOND
  end

  --- One attempt that fails so.
  local function failed(of, options)
    local grant = take(of, options.now, 1, true)
    local seconds = fail(grant, options)
    finish(grant, options.now)
    return seconds
  end

  local function hear(grant, words, now)
    local list = ffi.new("struct quota_word[?]", math.max(#words, 1))
    for i, word in ipairs(words) do
      list[i - 1] = { dimension = word[1], limit = word.limit or -1, left = word.left or -1,
        wait_us = word.wait and word.wait * SECOND or -1, is_of_key = word.is_of_key or false }
    end
    C.grant_hear(limits, grant, list, #words, now or NOW)
  end

  local function answered(of, words, now)
    local grant = assert(take(of, now))
    hear(grant, words, now)
    C.grant_succeed(limits, grant, SECOND, now or NOW)
    finish(grant, now)
  end

  describe("of what nobody knows", function()
    it("are none", function()
      assert.is_true(check(target("a")))
      assert.equal(0, C.limits_inflight(limits, target("a")))
      assert.equal(0, tonumber(C.limits_latency_us(limits, target("a"))))
    end)
  end)

  describe("a cooldown", function()
    it("closes a model by the key that met it, until its time", function()
      failed(target("a"), { wait = 30 })
      assert.same({ false, C.LIMITS_COOLS, 30, "rate_limited" }, { check(target("a")) })
      assert.is_true(check(target("b")))
      assert.is_true((check(target("a"), NOW + 30 * SECOND)))
    end)

    it("of a key closes all models, and no other key", function()
      failed(target("a"), { wait = 30, scope = C.GRANT_OF_KEY })
      assert.is_false((check(target("b"))))
      assert.is_true((check(target("b", { keys = 2 }))))
      assert.equal(2, take(target("b", { keys = 2 })).key)
    end)

    it("of a target closes it for all keys", function()
      failed(target("a", { keys = 3 }), { wait = 30, scope = C.GRANT_OF_TARGET })
      assert.is_false((check(target("a", { keys = 3 }))))
    end)

    it("is extended and never shortened", function()
      failed(target("a"), { wait = 30 })
      failed(target("a"), { wait = 10 })
      assert.equal(30, (select(3, check(target("a")))))
      failed(target("a"), { wait = 50 })
      assert.equal(50, (select(3, check(target("a")))))
    end)

    it("is a day at most", function()
      failed(target("a"), { wait = 10 * 86400 })
      assert.equal(86400, (select(3, check(target("a")))))
    end)

    it("has a tenth of jitter where its length is ours, and none where it was said", function()
      local lengths = {}
      for i = 1, 20 do
        local seconds = failed(target("m" .. i), { wait = 60, is_said = false, now = NOW + i })
        assert.is_true(seconds >= 60 and seconds <= 66)
        lengths[seconds] = true
      end
      local count = 0
      for _ in pairs(lengths) do count = count + 1 end
      assert.is_true(count > 10)
    end)

    it("lasts as long as the longest quota that is spent, not as the one that has room", function()
      local grant = take(target("a"))
      hear(grant, { { C.QUOTA_RPD, limit = 10, left = 0, wait = 5000 },
        { C.QUOTA_TPM, limit = 100, left = 0, wait = 20 },
        { C.QUOTA_TPD, limit = 100, left = 50, wait = 80000 } })
      assert.equal(5000, fail(grant, { wait = 60, is_said = false }))
    end)

    it("is ended by hand, for all keys", function()
      failed(target("a"), { wait = 30 })
      C.limits_uncool(limits, target("a"))
      assert.is_true((check(target("a"))))
      C.limits_cool(limits, target("a"), NOW + SECOND, "policy", NOW)
      assert.is_false((check(target("a"))))
    end)

    it("does not hold up whoever insists", function()
      failed(target("a"), { wait = 30 })
      assert.is_nil((take(target("a"))))
      assert.truthy((take(target("a"), NOW, 1, true)))
    end)
  end)

  describe("after a cooldown", function()
    local later = NOW + 31 * SECOND

    before_each(function() failed(target("a"), { wait = 30 }) end)

    it("one attempt finds out, and no other is made meanwhile", function()
      local probe = take(target("a"), later)
      assert.truthy(probe)
      assert.same({ false, C.LIMITS_PROBED }, { (check(target("a"), later)),
        (select(2, check(target("a"), later))) })
      assert.is_nil((take(target("a"), later)))
      C.grant_succeed(limits, probe, SECOND, later)
      assert.is_true((check(target("a"), later)))
    end)

    it("the probe is given back by an attempt that ends without a word", function()
      finish(take(target("a"), later), later)
      assert.truthy((take(target("a"), later)))
      assert.is_nil((take(target("a"), later)))
    end)

    it("the probe is given back when its worker dies", function()
      C.limits_enter(limits, 3)
      assert.truthy((take(target("a"), later)))
      C.limits_enter(limits, 4)
      assert.is_nil((take(target("a"), later)))
      C.limits_forget(limits, 3)
      assert.truthy((take(target("a"), later)))
    end)

    it("a failure closes it again", function()
      local probe = take(target("a"), later)
      fail(probe, { wait = 10, now = later })
      finish(probe, later)
      assert.equal(10, (select(3, check(target("a"), later))))
    end)

    it("a success that began before the failure opens nothing", function()
      local old = take(target("b"))
      failed(target("b"), { wait = 30 })
      C.grant_succeed(limits, old, SECOND, NOW + SECOND)
      assert.is_false((check(target("b"), NOW + SECOND)))
    end)

    it("a pause by hand needs nobody to find out", function()
      C.limits_cool(limits, target("c"), NOW + SECOND, "policy", NOW)
      assert.truthy((take(target("c"), later)))
      assert.truthy((take(target("c"), later)))
    end)
  end)

  describe("stalls and cuts", function()
    local function stumble(now)
      local grant = take(target("a"), now, 1, true)
      local seconds = tonumber(C.grant_stumble(limits, grant, "timeout", now)) / SECOND
      finish(grant, now)
      return seconds
    end

    it("cool from the third in a row, twice as long each time, five minutes at most", function()
      local seen = {}
      for i = 1, 12 do seen[i] = stumble(NOW) end
      assert.same({ 0, 0, 5, 10, 20, 40, 80, 160, 300, 300, 300, 300 }, seen)
    end)

    it("begin anew after a success", function()
      stumble(NOW)
      stumble(NOW)
      answered(target("a"), {})
      assert.equal(0, stumble(NOW))
    end)
  end)

  describe("a quota that was told", function()
    it("closes the target while nothing is left, and opens it at the reset", function()
      answered(target("a"), { { C.QUOTA_RPM, limit = 30, left = 0, wait = 12 } })
      assert.same({ false, C.LIMITS_SPENT, 12, "rate_limited" }, { check(target("a")) })
      assert.is_true((check(target("a"), NOW + 12 * SECOND)))
    end)

    it("counts down with what is sent and not yet answered", function()
      answered(target("a"), { { C.QUOTA_RPM, limit = 30, left = 2, wait = 12 } })
      local one, two = take(target("a")), take(target("a"))
      assert.truthy(one and two)
      assert.is_nil((take(target("a"))))
      hear(two, { { C.QUOTA_RPM, limit = 30, left = 1, wait = 12 } })
      assert.is_nil((take(target("a")))) -- the one is still on its way
      finish(one, NOW, -1, false)         -- and was never sent
      assert.truthy((take(target("a"))))
    end)

    it("is not raised by the answer to an older request", function()
      local old = take(target("a"), NOW)
      local new = take(target("a"), NOW + SECOND)
      hear(new, { { C.QUOTA_RPM, limit = 30, left = 0, wait = 12 } }, NOW + 2 * SECOND)
      hear(old, { { C.QUOTA_RPM, limit = 30, left = 1, wait = 12 } }, NOW + 3 * SECOND)
      assert.is_false((check(target("a"), NOW + 3 * SECOND)))
    end)

    it("is not raised by one of two at once, whichever the provider saw first", function()
      local one, two = take(target("a"), NOW), take(target("a"), NOW + SECOND)
      hear(one, { { C.QUOTA_RPM, limit = 30, left = 0, wait = 12 } }, NOW + 2 * SECOND)
      hear(two, { { C.QUOTA_RPM, limit = 30, left = 1, wait = 12 } }, NOW + 3 * SECOND)
      assert.is_false((check(target("a"), NOW + 3 * SECOND)))
    end)

    it("is counted once for each of many at once, in whatever order they are answered", function()
      answered(target("a"), { { C.QUOTA_RPM, limit = 30, left = 20, wait = 50 } })
      local grants = {}
      for i = 1, 10 do grants[i] = take(target("a"), NOW + i) end
      for i = 10, 1, -1 do
        hear(grants[i], { { C.QUOTA_RPM, limit = 30, left = 20 - i, wait = 50 } }, NOW + 100 - i)
      end
      local quota = ffi.new("struct limits_quota")
      C.limits_quota(limits, target("a"), C.QUOTA_RPM, NOW + 100, quota)
      assert.equal(10, tonumber(quota.left))
    end)

    it("comes back one by one where it refills", function()
      local day = { C.QUOTA_RPD, limit = 14400, left = 0, wait = 6 } -- a day's share
      answered(target("a"), { day })
      local now = NOW + 6 * SECOND
      local grant = take(target("a"), now)
      assert.truthy(grant)
      assert.is_nil((take(target("a"), now)))
      finish(grant, now)
      assert.is_nil((take(target("a"), now)))
      assert.truthy((take(target("a"), now + 6 * SECOND)))
    end)

    it("of tokens refuses what does not fit, and lets pass what never fits", function()
      answered(target("a"), { { C.QUOTA_TPM, limit = 1000, left = 400, wait = 12 } })
      assert.is_true((check(target("a"), NOW, 400)))
      assert.is_false((check(target("a"), NOW, 401)))
      assert.is_true((check(target("a"), NOW + 12 * SECOND, 5000)))
    end)

    it("of a key counts for all its models", function()
      answered(target("a"), { { C.QUOTA_RPD, limit = 50, left = 0, wait = 99, is_of_key = true } })
      assert.is_false((check(target("b"))))
    end)

    it("of which nobody says when it is back is asked again after its period", function()
      answered(target("a"), { { C.QUOTA_RPM, left = 0 } })
      assert.equal(60, (select(3, check(target("a")))))
    end)

    it("is shown, of all keys together", function()
      local of, quota = target("a", { keys = 2 }), ffi.new("struct limits_quota")
      assert.is_false(C.limits_quota(limits, of, C.QUOTA_RPM, NOW, quota))
      answered(of, { { C.QUOTA_RPM, limit = 30, left = 10, wait = 12 } })
      answered(of, { { C.QUOTA_RPM, limit = 30, left = 20, wait = 15 } })
      assert.is_true(C.limits_quota(limits, of, C.QUOTA_RPM, NOW, quota))
      assert.same({ 60, 30, 12 }, { tonumber(quota.limit), tonumber(quota.left),
        tonumber(quota.reset_us - NOW) / SECOND })
    end)
  end)

  describe("a limit of the configuration", function()
    it("lets no minute have more requests, wherever the minute begins", function()
      local of, sent, now = target("a", { rpm = 10 }), {}, NOW
      for _ = 1, 6000 do
        local grant = take(of, now)
        if grant then
          sent[#sent + 1] = now
          finish(grant, now)
        end
        now = now + SECOND / 10
      end
      for i = 11, #sent do assert.is_true(sent[i] - sent[i - 10] >= MINUTE) end
      assert.is_true(#sent >= 98, #sent) -- of the hundred that fit into ten minutes
    end)

    it("says when there is room again", function()
      local of = target("a", { rpd = 1 })
      finish(take(of))
      local _, block, seconds = take(of)
      assert.equal(C.LIMITS_SPENT, block)
      assert.is_true(seconds > 86400 - 1440 and seconds <= 86400 + 1440)
      assert.is_false((check(of, NOW + seconds * SECOND - 1)))
      assert.is_true((check(of, NOW + seconds * SECOND)))
    end)

    it("counts tokens as they were guessed, then as they were", function()
      local of = target("a", { tpm = 1000 })
      local grant = take(of, NOW, 900)
      assert.is_nil((take(of, NOW, 200)))
      finish(grant, NOW, 100)
      assert.truthy((take(of, NOW, 900)))
    end)

    it("counts nothing that was not sent", function()
      local of = target("a", { rpm = 1 })
      finish(take(of), NOW, 0, false)
      assert.truthy((take(of)))
    end)

    it("lets so many run at once", function()
      local of = target("a", { concurrent = 2 })
      local one = take(of)
      take(of)
      assert.equal(C.LIMITS_FULL, (select(2, take(target("b", { concurrent = 2 })))))
      finish(one)
      assert.truthy((take(of)))
    end)

    it("is of each key", function()
      local of = target("a", { rpm = 2, keys = 3 })
      local keys = {}
      for i = 1, 6 do keys[i] = take(of).key end
      assert.is_nil((take(of)))
      table.sort(keys)
      assert.same({ 1, 1, 2, 2, 3, 3 }, keys)
    end)
  end)

  describe("several keys", function()
    it("take turns", function()
      local of, counts = target("a", { keys = 4 }), { 0, 0, 0, 0 }
      for i = 1, 40 do
        local grant = take(of, NOW + i)
        counts[grant.key] = counts[grant.key] + 1
        finish(grant, NOW + i)
      end
      assert.same({ 10, 10, 10, 10 }, counts)
    end)

    it("are used by what they have left", function()
      local of = target("a", { keys = 2 })
      answered(of, { { C.QUOTA_RPD, limit = 100, left = 10, wait = 500, is_of_key = true } })
      answered(of, { { C.QUOTA_RPD, limit = 100, left = 90, wait = 500, is_of_key = true } })
      for _ = 1, 5 do
        local grant = take(of)
        assert.equal(2, grant.key)
        finish(grant)
      end
    end)

    it("say the soonest time while all cool", function()
      local of = target("a", { keys = 2 })
      failed(of, { wait = 30, scope = C.GRANT_OF_KEY })
      failed(of, { wait = 20, scope = C.GRANT_OF_KEY })
      assert.equal(20, (select(3, check(of))))
    end)
  end)

  describe("a dead worker", function()
    it("has nothing on its way", function()
      local of = target("a", { concurrent = 3 })
      C.limits_enter(limits, 1)
      take(of)
      take(of)
      C.limits_enter(limits, 2)
      take(of)
      assert.equal(3, C.limits_inflight(limits, of))
      C.limits_forget(limits, 1)
      assert.equal(1, C.limits_inflight(limits, of))
      assert.truthy((take(of)))
    end)

    it("has used what it had sent", function()
      local of = target("a", { rpm = 2 })
      answered(target("a"), { { C.QUOTA_RPD, limit = 9, left = 2, wait = 99 } })
      C.limits_enter(limits, 1)
      take(of)
      C.limits_enter(limits, 2)
      C.limits_forget(limits, 1)
      assert.truthy((take(of)))
      assert.is_nil((take(of)))
    end)
  end)

  describe("the table", function()
    it("forgets what nobody needs before it runs out of room", function()
      for i = 1, 20000 do
        C.limits_cool(limits, target("m" .. i), NOW + 1, "policy", NOW + i)
        kept = {}
      end
      C.limits_cool(limits, target("last"), NOW + DAY, "policy", NOW + 20001)
      assert.is_false((check(target("last"), NOW + 20001)))
    end)

    it("grants what it has no room to count", function()
      for i = 1, 8192 do C.limits_cool(limits, target("m" .. i), NOW + DAY, "policy", NOW) end
      for i = 1, 200 do
        local grant = take(target("other" .. i))
        assert.truthy(grant)
        finish(grant)
      end
    end)
  end)
end)
