require("spec.support.fake")
local failure = require("weir.failure")
local outcome = require("weir.outcome")
local quota = require("weir.quota")
local ratelimit = require("weir.ratelimit")

local NOW = 1700000000

local function entry_of(name, mode)
  local entry = { cooldown = 60, ratelimit_headers = mode }
  for member, value in pairs(require("weir.providers." .. name)) do entry[member] = value end
  entry.quota_headers, entry.quotas = quota.reader(entry.quota_formats)
  return entry
end

--- What is told, by name.
local function told(name, headers)
  local list, found = ratelimit.synthesize(entry_of(name), headers, NOW), {}
  for i = 1, #list, 2 do found[list[i]] = list[i + 1] end
  return found
end

describe("ratelimit.synthesize", function()
  it("puts Anthropic's into OpenAI's words", function()
    assert.same({
      ["x-ratelimit-limit-requests"] = "50", ["x-ratelimit-remaining-requests"] = "49",
      ["x-ratelimit-reset-requests"] = "10s", ["x-ratelimit-limit-tokens"] = "50000",
      ["x-ratelimit-remaining-tokens"] = "100", ["x-ratelimit-reset-tokens"] = "1m15s",
    }, told("anthropic", {
      ["anthropic-ratelimit-requests-limit"] = "50",
      ["anthropic-ratelimit-requests-remaining"] = "49",
      ["anthropic-ratelimit-requests-reset"] = "2023-11-14T22:13:30Z",
      ["anthropic-ratelimit-tokens-limit"] = "80000",
      ["anthropic-ratelimit-tokens-remaining"] = "70000",
      ["anthropic-ratelimit-input-tokens-limit"] = "50000",
      ["anthropic-ratelimit-input-tokens-remaining"] = "100",
      ["anthropic-ratelimit-input-tokens-reset"] = "2023-11-14T22:14:35Z",
    }))
  end)

  it("tells of the window with the least left", function()
    assert.same({
      ["x-ratelimit-limit-requests"] = "14400", ["x-ratelimit-remaining-requests"] = "3",
      ["x-ratelimit-reset-requests"] = "9h10m11.383s",
    }, told("cerebras", {
      ["x-ratelimit-limit-requests-day"] = "14400", ["x-ratelimit-remaining-requests-day"] = "3",
      ["x-ratelimit-reset-requests-day"] = "33011.382867097855",
      ["x-ratelimit-limit-requests-minute"] = "30",
      ["x-ratelimit-remaining-requests-minute"] = "29",
    }))
  end)

  it("leaves out what is unknown", function()
    assert.same({ ["x-ratelimit-remaining-tokens"] = "7" },
      told("groq", { ["x-ratelimit-remaining-tokens"] = "7", ["x-ratelimit-limit-tokens"] = "-1" }))
    assert.same({}, told("groq", {}))
    assert.same({}, told("gemini", { ["x-ratelimit-remaining-tokens"] = "7" }))
  end)
end)

describe("ratelimit.duration", function()
  local rows = { [0] = "0ms", [0.012] = "12ms", [0.0004] = "1ms", [1] = "1s", [7.66] = "7.66s",
    [60] = "1m0s", [360] = "6m0s", [179.56] = "2m59.56s", [3600] = "1h0m0s",
    [37025.7] = "10h17m5.7s", [86400] = "24h0m0s", [59.9999] = "1m0s", [10] = "10s" }
  for seconds, text in pairs(rows) do
    it("writes " .. text, function()
      assert.equal(text, ratelimit.duration(seconds))
    end)
  end

  it("is read again as no less than it was", function()
    local moment = require("weir.moment")
    math.randomseed(3)
    for _ = 1, 2000 do
      local seconds = math.random() * 10 ^ math.random(-3, 6)
      local read = moment.wait(ratelimit.duration(seconds), NOW)
      assert.is_true(read >= seconds - 1e-5 and read <= seconds + 0.0011, seconds)
    end
  end)
end)

describe("a 429 of every target", function()
  local headers = { ["x-ratelimit-remaining-tokens"] = "0", ["retry-after"] = "7",
    ["x-other"] = "x" }

  local function answer(mode)
    local err = outcome.read { target = "groq/x", provider = entry_of("groq", mode), status = 429,
      headers = headers, now = NOW }
    return failure.reply(err, { { target = "groq/x", code = err.code, status = 429, ms = 1,
      retry_after = 6.5 } })
  end

  it("carries the provider's words where they are forwarded, and our time", function()
    assert.same({ ["retry-after"] = "7", ["x-ratelimit-remaining-tokens"] = "0" },
      answer("forward").headers)
  end)

  it("carries our time alone else", function()
    assert.same({ ["retry-after"] = "7" }, answer("synthesize").headers)
    assert.same({ ["retry-after"] = "7" }, answer("strip").headers)
  end)

  it("carries nothing odd that a policy says", function()
    local err = { code = "rate_limited", target = "a/b", retry_after = 3,
      ratelimit = { 5, ["x-other"] = "x", ["x-ratelimit-a"] = {}, ["x-ratelimit-b"] = "1" } }
    assert.same({ ["retry-after"] = "3", ["x-ratelimit-b"] = "1" }, failure.reply(err, {}).headers)
  end)
end)
