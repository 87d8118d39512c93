local cheapest = require("policies.cheapest")
local sim = require("weir.sim")

describe("cheapest", function()
  it("asks the target whose model costs least", function()
    local ask = cheapest { "openai/gpt-4o", "openai/gpt-4o-mini", "groq/llama-3.1-8b-instant" }
    assert.equal("groq/llama-3.1-8b-instant", sim.run(ask).target)
    sim.provider("groq"):answers(500)
    assert.same({ "groq/llama-3.1-8b-instant", "openai/gpt-4o-mini" }, sim.run(ask).targets)
  end)

  it("weighs what is asked against what may be answered", function()
    local ask = cheapest({ "openai/reads", "laptop/writes" }, { prices = {
      reads = { input = 1, output = 100 },
      writes = { input = 10, output = 10 },
    } })
    local long = { { role = "user", content = ("word "):rep(4000) } }
    local brief = { messages = long, body = { max_tokens = 5 } }
    assert.equal("openai/reads", sim.run(ask, brief).target)
    assert.equal("laptop/writes", sim.run(ask, { body = { max_tokens = 5000 } }).target)
  end)

  it("prefers a target's own price, and what has none comes last", function()
    local prices = { ["laptop/gpt-4o"] = { input = 0, output = 0 } }
    local ask = cheapest({ "openai/unheard-of", "openai/gpt-4o", "laptop/gpt-4o" },
      { prices = prices })
    sim.provider("laptop"):answers(500)
    sim.provider("openai"):answers(500)
    assert.same({ "laptop/gpt-4o", "openai/gpt-4o", "openai/unheard-of" }, sim.run(ask).targets)
  end)
end)
