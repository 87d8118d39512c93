local sim = require("weir.sim")

local function ask(length)
  return sim.request { messages = { { role = "user", content = ("x"):rep(length) } } }
end

describe("by_length", function()
  it("sends short questions to the small models", function()
    assert.equal("groq/llama-3.1-8b-instant", ask(10).target)
    assert.equal("groq/llama-3.1-8b-instant", ask(400).target)
  end)

  it("sends long ones to the large models", function()
    assert.equal("openrouter/qwen/qwen3-235b-a22b", ask(401).target)
  end)

  it("goes on to the next when a provider is out of quota", function()
    sim.provider("groq"):answers(429, { retry_after = 30 })
    assert.same({ "groq/llama-3.1-8b-instant", "laptop/llama3.2" }, ask(10).targets)
    assert.same({ "laptop/llama3.2" }, ask(10).targets) -- groq is cooling now
    sim.sleep(31)
    assert.equal(2, #ask(10).targets)
  end)

  it("leaves nobody with half an answer", function()
    sim.provider("openrouter"):answers("stall", { after = 2, text = "one two three" })
    local long = { { role = "user", content = ("x"):rep(500) } }
    local result = sim.request { messages = long, stream = true }
    assert.equal("one two ", result.text)
    assert.equal("cut", result.ended)
    assert.equal("stream_timeout", result.error.code)
  end)

  it("refuses conversations that are too long", function()
    local messages = {}
    for i = 1, 201 do messages[i] = { role = "user", content = "Hello" } end
    local result = sim.request { messages = messages }
    assert.equal(413, result.status)
    assert.same({}, result.targets)
  end)
end)
