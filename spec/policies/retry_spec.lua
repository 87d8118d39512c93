local retry = require("policies.retry")
local sim = require("weir.sim")

describe("retry", function()
  it("asks the same target again, after pauses that grow", function()
    sim.provider("groq"):answers(503):answers(503):answers(200)
    local result = sim.run(retry("groq/a", { pause = 1 }))
    assert.equal(200, result.status)
    assert.same({ "groq/a", "groq/a", "groq/a" }, result.targets)
    local asked = sim.asked()
    local first, second = asked[2].at - asked[1].at, asked[3].at - asked[2].at
    assert.is_true(first >= 0.5 and first <= 1, first)
    assert.is_true(second >= 1 and second <= 2, second)
  end)

  it("gives up after so many times", function()
    sim.provider("groq"):answers("refused")
    local result = sim.run(retry("groq/a", { times = 3 }))
    assert.equal(502, result.status)
    assert.equal(4, #result.targets)
  end)

  it("waits as long as the provider asks, unless that is too long", function()
    sim.provider("groq"):answers(429, { retry_after = 5 }):answers(200)
    assert.equal(5, sim.run(retry "groq/a").first)
    sim.reset()
    sim.provider("groq"):answers(429, { retry_after = 60 })
    local result = sim.run(retry "groq/a")
    assert.equal(429, result.status)
    assert.equal(1, #result.targets)
  end)

  for _, status in ipairs { 400, 401, 402, 404 } do
    it("does not ask again after " .. status, function()
      sim.provider("groq"):answers(status)
      assert.equal(1, #sim.run(retry "groq/a").targets)
    end)
  end

  it("spends what requests have earned, and then no more", function()
    local policy = retry("groq/a", { times = 1, share = 0.5 })
    sim.provider("groq"):answers("reset")
    local attempts = 0
    for _ = 1, 100 do attempts = attempts + #sim.run(policy).targets end
    assert.is_true(attempts > 150 and attempts <= 162, attempts)
  end)

  it("retries a whole policy", function()
    sim.provider("groq"):answers("reset"):answers(200)
    sim.provider("openai"):answers("reset")
    assert.same({ "groq/a", "openai/b", "groq/a" }, sim.run(retry { "groq/a", "openai/b" }).targets)
  end)
end)
