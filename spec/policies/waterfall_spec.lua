local sim = require("weir.sim")
local waterfall = require("policies.waterfall")

describe("waterfall", function()
  local ask = waterfall { "groq/llama", "cerebras/llama", "openai/gpt" }

  it("keeps to the first target while it answers", function()
    local result = sim.run(ask)
    assert.equal("Hello from groq", result.text)
    assert.same({ "groq/llama" }, result.targets)
  end)

  it("goes on until one answers, and the client sees that one alone", function()
    sim.provider("groq"):answers(429)
    sim.provider("cerebras"):answers("error", { code = "queue_exceeded" })
    local result = sim.run(ask, { stream = true })
    assert.equal("Hello from openai", result.text)
    assert.same({ "rate_limited", "bad_response", "ok" },
      { result.trail[1].code, result.trail[2].code, result.trail[3].code })
  end)

  it("ends where the request itself is wrong", function()
    sim.provider("groq"):answers(400, { message = "no such role", param = "messages" })
    local result = sim.run(ask)
    assert.equal(400, result.status)
    assert.equal("no such role", result.error.message)
    assert.same({ "groq/llama" }, result.targets)
  end)

  it("tells what it tried when nobody answers", function()
    for _, name in ipairs { "groq", "cerebras", "openai" } do
      sim.provider(name):answers("refused")
    end
    local result = sim.run(ask)
    assert.equal(502, result.status)
    assert.equal(3, #result.error.trail)
    assert.matches("all 3 targets failed", result.error.message)
  end)

  it("says when the first is free again while all cool", function()
    for _, name in ipairs { "groq", "cerebras", "openai" } do
      sim.provider(name):answers(429, { retry_after = name == "groq" and 20 or 40 })
    end
    sim.run(ask)
    sim.sleep(5)
    local result = sim.run(ask)
    assert.equal(429, result.status)
    assert.equal("15", result.headers["retry-after"])
    assert.same({}, result.targets)
  end)
end)
