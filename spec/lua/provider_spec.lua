require("spec.support.fake")
local provider = require("weir.provider")

describe("provider", function()
  it("takes what is not said from the base", function()
    local extended = provider.extend("openai", { base_url = "https://example.test/v1" })
    assert.equal("https://example.test/v1", extended.base_url)
    assert.equal("Bearer ", extended.auth.prefix)
    assert.equal("at base_url", extended.needs_key)
  end)

  it("merges tables of names and replaces lists", function()
    local base = { headers = { a = "1", b = "2" }, drop = { "x", "y" }, deep = { list = { 1, 2 } } }
    local extended = provider.extend(base, {
      headers = { b = "3" }, drop = { "z" }, deep = { list = { 3 } },
    })
    assert.same({ a = "1", b = "3" }, extended.headers)
    assert.same({ "z" }, extended.drop)
    assert.same({ 3 }, extended.deep.list)
    assert.same({}, provider.extend(base, { drop = {} }).drop)
  end)

  it("leaves the base as it was", function()
    local base = { headers = { a = "1" }, drop = { "x" } }
    provider.extend(base, { headers = { a = "2", b = "3" }, drop = {} })
    assert.same({ headers = { a = "1" }, drop = { "x" } }, base)
  end)

  it("reads false as something said", function()
    assert.is_false(provider.extend("openai", { include_usage = false }).include_usage)
  end)

  --- Where the key travels; of the others, in authorization.
  local AUTH = { anthropic = "x-api-key", azure = "api-key" }

  for _, name in ipairs {
    "anthropic", "azure", "cerebras", "deepseek", "fireworks", "gemini", "groq", "mistral",
    "nvidia", "openai", "openrouter", "together",
  } do
    it("has all that the core reads, for " .. name, function()
      local module = require("weir.providers." .. name)
      assert.truthy(require("weir.url").read(module.base_url or module.base_url_example))
      assert.equal(AUTH[name] or "authorization", module.auth.header)
      assert.equal(AUTH[name] and "" or "Bearer ", module.auth.prefix)
      assert.equal("table", type(module.drop))
      assert.truthy(module.done == "required" or module.done == "optional")
      assert.is_true(module.include_usage)
      assert.truthy(module.needs_key == "always" or module.needs_key == "at base_url")
      assert.is_nil(require("weir.quota").problem(module.quota_formats))
    end)
  end
end)

describe("provider gemini", function()
  local gemini = require("weir.providers.gemini")
  local moment = require("weir.moment")
  local said = { details = { { violations = { { quotaId = "GenerateRequestsPerDay" } } } } }

  --- A moment, and the hours from it to midnight in California.
  local rows = {
    { "2023-11-14T22:00:00Z", 10 }, -- winter: midnight is 08:00 UTC
    { "2024-07-01T12:00:00Z", 19 }, -- summer: 07:00 UTC
    { "2024-01-01T00:00:00Z", 8 },
    { "2024-12-31T23:00:00Z", 9 },
    { "2024-03-10T07:00:00Z", 1 }, -- before summer time begins, at 10:00 UTC
    { "2024-03-10T10:00:00Z", 21 },
    { "2024-11-03T06:00:00Z", 1 }, -- before it ends, at 09:00 UTC
    { "2024-11-03T09:00:00Z", 23 },
    { "2026-11-01T09:00:00Z", 23 }, -- a month that begins with a Sunday
  }
  for _, row in ipairs(rows) do
    it("counts a day's quota to midnight in California, from " .. row[1], function()
      local wait = gemini.retry_after({ now = moment.date(row[1]) }, said)
      assert.equal(row[2] * 3600, wait)
    end)
  end

  it("knows no such time without a clock", function()
    assert.is_nil(gemini.retry_after({}, said) or nil)
  end)
end)
