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

describe("quota", function()
  local function one(format, headers)
    format.dimension, format.header = format.dimension or "rpm", "x-%s"
    local _, quotas = quota.reader { format }
    return quotas(headers, NOW)[1]
  end

  it("names the headers that it reads, in lower case", function()
    assert.same({ "x-limit-a", "x-remaining-a", "x-reset-a" },
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
