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
