local fastest = require("policies.fastest")
local sim = require("weir.sim")

describe("fastest", function()
  local targets = { "groq/a", "openai/b" }

  it("asks each once, and then the one that was quicker", function()
    local ask = fastest(targets, { explore = 0 })
    sim.provider("groq"):answers(200, { latency = 2 })
    sim.provider("openai"):answers(200, { latency = 0.5 })
    assert.equal("groq/a", sim.run(ask).target)
    for _ = 1, 5 do assert.equal("openai/b", sim.run(ask).target) end
  end)

  it("follows when that changes", function()
    local ask = fastest(targets, { explore = 0 })
    sim.provider("groq"):answers(200, { latency = 2 })
    sim.provider("openai"):answers(200, { latency = 0.5 }):answers(200, { latency = 9 })
    sim.run(ask)
    local last
    for _ = 1, 10 do last = sim.run(ask).target end
    assert.equal("groq/a", last)
  end)

  it("begins with another now and then", function()
    local ask = fastest(targets, { explore = 0.5 })
    sim.provider("groq"):answers(200, { latency = 2 })
    sim.provider("openai"):answers(200, { latency = 0.5 })
    local served = {}
    for _ = 1, 100 do
      local target = sim.run(ask).target
      served[target] = (served[target] or 0) + 1
    end
    assert.is_true(served["groq/a"] > 25 and served["groq/a"] < 75, served["groq/a"])
  end)

  it("goes on when the quickest fails", function()
    local ask = fastest(targets, { explore = 0 })
    sim.provider("groq"):answers("reset")
    assert.equal("openai/b", sim.run(ask).target)
  end)
end)
