require("spec.support.fake")
local quota = require("weir.quota")

local NOW = 1700000000

--- What a shipped provider's reader finds, by dimension.
local function read(name, headers)
  local _, quotas = quota.reader(require("weir.providers." .. name).quota_formats)
  local found = {}
  for _, item in ipairs(quotas(headers, NOW)) do
    assert.is_nil(found[item.dimension])
    found[item.dimension] = { item.limit, item.remaining, item.reset, item.scope }
  end
  return found
end

describe("quota, by provider", function()
  it("reads OpenAI's requests and tokens by the minute", function()
    assert.same({
      rpm = { 60, 59, 1, "model" },
      tpm = { 150000, 149984, 360, "model" },
    }, read("openai", {
      ["x-ratelimit-limit-requests"] = "60", ["x-ratelimit-remaining-requests"] = "59",
      ["x-ratelimit-reset-requests"] = "1s", ["x-ratelimit-limit-tokens"] = "150000",
      ["x-ratelimit-remaining-tokens"] = "149984", ["x-ratelimit-reset-tokens"] = "6m0s",
    }))
  end)

  it("takes the tighter of OpenAI's two counts of tokens", function()
    local headers = {
      ["x-ratelimit-limit-tokens"] = "1000", ["x-ratelimit-remaining-tokens"] = "900",
      ["x-ratelimit-limit-tokens_usage_based"] = "2000",
      ["x-ratelimit-remaining-tokens_usage_based"] = "12",
      ["x-ratelimit-reset-tokens_usage_based"] = "12ms",
    }
    assert.same({ tpm = { 2000, 12, 0.012, "model" } }, read("openai", headers))
    headers["x-ratelimit-remaining-tokens"] = "3"
    assert.same({ 1000, 3, nil, "model" }, read("openai", headers).tpm)
  end)

  it("reads Groq's requests by the day and tokens by the minute", function()
    local found = read("groq", {
      ["x-ratelimit-limit-requests"] = "14400", ["x-ratelimit-remaining-requests"] = "14370",
      ["x-ratelimit-reset-requests"] = "2m59.56s", ["x-ratelimit-limit-tokens"] = "18000",
      ["x-ratelimit-remaining-tokens"] = "17997", ["x-ratelimit-reset-tokens"] = "7.66s",
    })
    assert.same({ rpd = { 14400, 14370, 179.56, "model" }, tpm = { 18000, 17997, 7.66, "model" } },
      found)
  end)

  it("says when a spent quota has its next request where it refills steadily", function()
    assert.same({ rpd = { 14400, 0, 6, "model" } }, read("groq", {
      ["x-ratelimit-limit-requests"] = "14400", ["x-ratelimit-remaining-requests"] = "0",
      ["x-ratelimit-reset-requests"] = "24h0m0s",
    }))
  end)

  it("reads Cerebras' names with their windows", function()
    assert.same({ rpd = { 14400, 0, 33011.382867097855, "model" }, tpm = { 60000, 59000, 11.5,
      "model" }, tpd = { 1000000, 5, nil, "model" } }, read("cerebras", {
      ["x-ratelimit-limit-requests-day"] = "14400", ["x-ratelimit-remaining-requests-day"] = "0",
      ["x-ratelimit-reset-requests-day"] = "33011.382867097855",
      ["x-ratelimit-limit-tokens-minute"] = "60000",
      ["x-ratelimit-remaining-tokens-minute"] = "59000",
      ["x-ratelimit-reset-tokens-minute"] = "11.5",
      ["x-ratelimit-limit-tokens-day"] = "1000000", ["x-ratelimit-remaining-tokens-day"] = "5",
    }))
  end)

  it("tells OpenRouter's limit by the day from that by the minute", function()
    local function limited(reset)
      return read("openrouter", { ["x-ratelimit-limit"] = "50", ["x-ratelimit-remaining"] = "0",
        ["x-ratelimit-reset"] = reset })
    end
    assert.same({ rpm = { 50, 0, 30, "key" } }, limited("1700000030000"))
    assert.same({ rpd = { 50, 0, 40000, "key" } }, limited("1700040000000"))
    assert.same({ rpm = { 50, 0, nil, "key" } }, limited("1600000000000"))
  end)
end)

describe("quota, by further providers", function()
  it("reads Anthropic's, whose resets are moments", function()
    assert.same({ rpm = { 50, 49, 10, "model" }, itpm = { 50000, 49000, 5, "model" } },
      read("anthropic", {
        ["anthropic-ratelimit-requests-limit"] = "50",
        ["anthropic-ratelimit-requests-remaining"] = "49",
        ["anthropic-ratelimit-requests-reset"] = "2023-11-14T22:13:30Z",
        ["anthropic-ratelimit-input-tokens-limit"] = "50000",
        ["anthropic-ratelimit-input-tokens-remaining"] = "49000",
        ["anthropic-ratelimit-input-tokens-reset"] = "2023-11-14T22:13:25Z",
      }))
  end)

  it("reads each of Mistral's namings", function()
    assert.same({ rpm = { 60, 59, nil, "model" }, tpm = { 500000, 468000, nil, "model" } },
      read("mistral", {
        ["x-ratelimit-limit-req-minute"] = "60", ["x-ratelimit-remaining-req-minute"] = "59",
        ["x-ratelimit-limit-tokens-minute"] = "500000",
        ["x-ratelimit-remaining-tokens-minute"] = "468000",
      }))
    assert.same({ tpm = { 500000, 467982, 48, "model" } }, read("mistral", {
      ["ratelimitbysize-limit"] = "500000", ["ratelimitbysize-remaining"] = "467982",
      ["ratelimitbysize-reset"] = "48", ["ratelimitbysize-query-cost"] = "32018",
    }))
    assert.same({ tpm = { 500000, 1, nil, "model" }, tpmonth = { 1000000000, 7, nil, "key" } },
      read("mistral", {
        ["x-ratelimitbysize-limit-minute"] = "500000",
        ["x-ratelimitbysize-remaining-minute"] = "1",
        ["x-ratelimitbysize-limit-month"] = "1000000000",
        ["x-ratelimitbysize-remaining-month"] = "7",
      }))
  end)

  it("reads Fireworks' tokens of prompt and answer", function()
    assert.same({ itpm = { 60000, nil, nil, "model" }, otpm = { 6000, nil, nil, "model" } },
      read("fireworks", { ["x-ratelimit-limit-tokens-prompt"] = "60000",
        ["x-ratelimit-limit-tokens-generated"] = "6000" }))
  end)

  it("reads Together's", function()
    assert.same({ rpm = { 60, 59, 1, "model" } }, read("together", { ["x-ratelimit-limit"] = "60",
      ["x-ratelimit-remaining"] = "59", ["x-ratelimit-reset"] = "1" }))
  end)

  it("takes Azure's zeros and negatives for unknown", function()
    assert.same({}, read("azure", { ["x-ratelimit-limit-requests"] = "10",
      ["x-ratelimit-remaining-requests"] = "0", ["x-ratelimit-remaining-tokens"] = "-1" }))
    assert.same({ tpm = { nil, 900, nil, "model" } }, read("azure", {
      ["x-ratelimit-limit-tokens"] = "-1", ["x-ratelimit-remaining-tokens"] = "900" }))
  end)

  it("reads nothing at those that say nothing", function()
    for _, name in ipairs { "gemini", "deepseek", "nvidia" } do
      assert.same({}, (quota.reader(require("weir.providers." .. name).quota_formats)))
    end
  end)
end)

describe("quota, whatever it is given", function()
  local names = { "anthropic", "azure", "cerebras", "fireworks", "groq", "mistral", "openai",
    "openrouter", "together" }
  local values = { "60", "0", "-1", "14370", "2m59.56s", "6m0s", "12ms", "10h17m5.7s", "1.5",
    "33011.382867097855", "2025-10-25T12:00:00Z", "Tue, 14 Nov 2023 22:13:30 GMT", "1700000030",
    "1700000030000", "", "nan", "inf", "-inf", "0x7f", "1e309", ("9"):rep(60), "\194\181s" }

  --- A real value with some of its bytes changed, doubled or taken out; or bytes at random.
  local function mutated()
    local text = values[math.random(#values)]
    if math.random() < 0.2 then text = "" end
    for _ = 1, math.random(0, 6) do
      local at = math.random(0, #text)
      local byte = math.random() < 0.5 and string.char(math.random(0, 255))
        or ("0123456789.-+:eTZhms "):sub(math.random(21)):sub(1, 1)
      text = text:sub(1, at) .. byte .. text:sub(at + math.random(0, 2))
    end
    return text
  end

  local function check_number(value, max)
    assert.is_true(value == nil or value >= 0 and value <= max) -- NaN is neither
  end

  for _, name in ipairs(names) do
    it("neither raises nor gives what is negative, no number or unbounded, at " .. name, function()
      math.randomseed(11)
      local headers_read, quotas = quota.reader(require("weir.providers." .. name).quota_formats)
      for round = 1, 3000 do
        local headers = {}
        for _, header in ipairs(headers_read) do
          if math.random() < 0.8 then headers[header] = mutated() end
        end
        local list = quotas(headers, round % 7 > 0 and NOW or nil)
        assert.is_true(#list <= #headers_read / 3)
        for _, item in ipairs(list) do
          assert.truthy(quota.WINDOWS[item.dimension])
          check_number(item.limit, 2 ^ 53)
          check_number(item.remaining, 2 ^ 53)
          check_number(item.reset, require("weir.moment").MAX)
          assert.is_true(item.limit ~= nil or item.remaining ~= nil)
        end
      end
    end)
  end

  it("waits neither for ever nor a negative time after a 429 with such headers", function()
    math.randomseed(12)
    local outcome = require("weir.outcome")
    local entry = { cooldown = 60 }
    for member, value in pairs(require("weir.providers.groq")) do entry[member] = value end
    entry.quota_headers, entry.quotas = quota.reader(entry.quota_formats)
    for _ = 1, 3000 do
      local headers = { ["retry-after"] = mutated(), ["retry-after-ms"] = mutated() }
      for _, header in ipairs(entry.quota_headers) do headers[header] = mutated() end
      local err = outcome.read { target = "groq/x", provider = entry, status = 429, now = NOW,
        headers = headers }
      check_number(err.cooldown, 86400)
      check_number(err.retry_after, 86400)
    end
  end)
end)

describe("quota", function()
  local function one(format, headers)
    format.dimension, format.header = format.dimension or "rpm", "x-%s"
    local _, quotas = quota.reader { format }
    return quotas(headers, NOW)[1]
  end

  it("names the headers that it reads, in lower case", function()
    assert.same({ "x-limit-a", "x-remaining-a", "x-reset-a", "retry-after", "retry-after-ms" },
      (quota.reader { { dimension = "rpm", header = "x-%s-a" } }))
    for _, name in ipairs { "openai", "groq", "cerebras", "openrouter" } do
      for _, header in ipairs((quota.reader(require("weir.providers." .. name).quota_formats))) do
        assert.equal(header:lower(), header)
      end
    end
  end)

  it("finds nothing where nothing is said", function()
    local names, quotas = quota.reader(nil)
    assert.same({}, names)
    assert.same({}, quotas({ ["x-ratelimit-limit-requests"] = "60" }, NOW))
    assert.is_nil(one({}, {}))
    assert.is_nil(one({}, { ["x-reset"] = "5" }))
  end)

  it("keeps what is unknown unknown", function()
    assert.same({ dimension = "rpm", scope = "model", remaining = 5 },
      one({}, { ["x-limit"] = "-1", ["x-remaining"] = "5", ["x-reset"] = "-3" }))
    assert.same({ dimension = "rpm", scope = "model", limit = 5 },
      one({}, { ["x-limit"] = "5", ["x-remaining"] = "-1", ["x-reset"] = "soon" }))
    for _, text in ipairs { "", "none", "nan", "inf", "-1", "0x10", "1e3", "99999999999999999" } do
      assert.is_nil(one({}, { ["x-limit"] = text, ["x-remaining"] = text }), text)
    end
  end)

  it("reads a limit of 0 as none that could be known", function()
    assert.is_nil(one({}, { ["x-limit"] = "0", ["x-remaining"] = "0" }))
  end)

  it("lets a provider say that its 0 means unknown", function()
    assert.is_nil(one({ zero = "unknown" }, { ["x-limit"] = "5", ["x-remaining"] = "0" }))
    local known = one({ zero = "unknown" }, { ["x-limit"] = "5", ["x-remaining"] = "1" })
    assert.equal(1, known.remaining)
  end)

  it("takes Retry-After for what is spent and names no time of its own", function()
    local headers = { ["x-remaining"] = "0", ["retry-after"] = "30" }
    assert.equal(30, one({}, headers).reset)
    headers["x-reset"] = "7s"
    assert.equal(7, one({}, headers).reset)
    assert.is_nil(one({}, { ["x-remaining"] = "1", ["retry-after"] = "30" }).reset)
  end)

  it("cuts fractions of a count", function()
    assert.equal(11, one({}, { ["x-remaining"] = "11.9" }).remaining)
  end)
end)

describe("quota.problem", function()
  local rows = {
    { "x", "quota_formats", "must be a list of tables" },
    { { "x" }, "quota_formats[1]", "must be a table" },
    { { [2] = {} }, "quota_formats[1]", "must be a table" },
    { { { header = "x-%s" } }, "quota_formats[1].dimension", "must be one of concurrent, itpm" },
    { { { dimension = "rpy", header = "x-%s" } }, "quota_formats[1].dimension", "must be one of" },
    { { { dimension = "rpm", longer = "rpy", header = "x-%s" } }, "quota_formats[1].longer",
      "must be one of" },
    { { { dimension = "rpm" } }, "quota_formats[1].header", "must be a name in lower case" },
    { { { dimension = "rpm", header = "X-%s" } }, "quota_formats[1].header", "in lower case" },
    { { { dimension = "rpm", header = "x" } }, "quota_formats[1].header", "with one %s" },
    { { { dimension = "rpm", header = "x-%s-%s" } }, "quota_formats[1].header", "with one %s" },
    { { { dimension = "rpm", header = "x-%d" } }, "quota_formats[1].header", "with one %s" },
    { { { dimension = "rpm", header = "x-%s", scope = "org" } }, "quota_formats[1].scope",
      "must be model or key" },
    { { { dimension = 5, header = "x-%s" } }, "quota_formats[1].dimension", "must be a string" },
    { { { dimension = "rpm", header = "x-%s", window = 5 } }, "quota_formats[1].window",
      "unknown member" },
  }
  for _, row in ipairs(rows) do
    it(("names %s, which %s"):format(row[2], row[3]), function()
      local path, message = quota.problem(row[1])
      assert.equal(row[2], path)
      assert.truthy(message:find(row[3], 1, true), message)
    end)
  end

  it("finds none in what ships", function()
    for _, name in ipairs { "openai", "groq", "cerebras", "openrouter" } do
      assert.is_nil(quota.problem(require("weir.providers." .. name).quota_formats))
    end
    assert.is_nil(quota.problem(nil))
  end)
end)
