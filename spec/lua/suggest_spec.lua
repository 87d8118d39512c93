local suggest = require("weir.suggest")

describe("suggest", function()
  local members = { "connect", "first", "idle", "total" }

  it("finds the name that one slip of the fingers leads to", function()
    assert.equal("first", suggest("frist", members)) -- two neighbours swapped
    assert.equal("idle", suggest("idel", members))
    assert.equal("total", suggest("totl", members))
    assert.equal("connect", suggest("conect", members))
    assert.equal("total", suggest("totall", members))
    assert.equal("idle", suggest("Idle", members))
  end)

  it("finds the name that is a whole part of the word, and the other way round", function()
    assert.equal("key", suggest("api_key", { "type", "key", "base_url" }))
    assert.equal("base_url", suggest("url", { "type", "key", "base_url" }))
  end)

  it("prefers a slip to a part", function()
    assert.equal("total", suggest("totals", { "totals_of_all", "total" }))
  end)

  it("keeps still when nothing is near", function()
    assert.is_nil(suggest("model", members))
    assert.is_nil(suggest("x", members))
    assert.is_nil(suggest("", members))
    assert.is_nil(suggest("first", {}))
  end)

  it("keeps the first of equals", function()
    assert.equal("groq", suggest("grok", { "groq", "grow" }))
  end)

  it("lets one letter of a short name be wrong, and not more", function()
    assert.equal("a", suggest("b", { "a" }))
    assert.is_nil(suggest("listen", { "list_of_secrets" }))
  end)

  it("does not measure words of any length", function()
    assert.is_nil(suggest(("x"):rep(100000), { ("x"):rep(100000) }))
  end)
end)
