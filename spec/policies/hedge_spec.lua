local hedge = require("policies.hedge")
local sim = require("weir.sim")

describe("hedge", function()
  local ask = hedge { "groq/a", "openai/b", "laptop/c", after = 2 }

  local function codes(result)
    local list = {}
    for i, attempt in ipairs(result.trail) do list[i] = attempt.target .. " " .. attempt.code end
    return list
  end

  for _, stream in ipairs { false, true } do
    local how = stream and ", as a stream" or ""
    local request = { stream = stream }

    it("keeps to the first target while it answers in time" .. how, function()
      sim.provider("groq"):answers(200, { latency = 1.5 })
      local result = sim.run(ask, request)
      assert.equal(1.5, result.first)
      assert.same({ "groq/a ok" }, codes(result))
      assert.equal(1, #sim.asked())
    end)

    it("asks the next one too when the first is slow, and takes who is sooner" .. how, function()
      sim.provider("groq"):answers(200, { latency = 30 })
      sim.provider("openai"):answers(200, { latency = 1 })
      local result = sim.run(ask, request)
      assert.equal("openai/b", result.target)
      assert.equal(3, result.first)
      assert.same({ "openai/b ok", "groq/a cancelled" }, codes(result))
    end)

    it("lets the first one win after all" .. how, function()
      sim.provider("groq"):answers(200, { latency = 3 })
      sim.provider("openai"):answers(200, { latency = 5 })
      local result = sim.run(ask, request)
      assert.same({ "groq/a ok", "openai/b cancelled" }, codes(result))
      assert.equal(3, result.first)
    end)

    it("goes on at once when one fails" .. how, function()
      sim.provider("groq"):answers(500)
      local result = sim.run(ask, request)
      assert.equal("openai/b", result.target)
      assert.equal(0, result.first)
    end)
  end

  it("asks the third when two are slow", function()
    for _, name in ipairs { "groq", "openai" } do sim.provider(name):answers("stall") end
    local result = sim.run(ask)
    assert.equal("laptop/c", result.target)
    assert.equal(4, result.first)
  end)

  it("leaves out what is cooling", function()
    sim.cool("groq/a", 60)
    assert.same({ "openai/b ok" }, codes(sim.run(ask)))
  end)

  it("fails as a waterfall does when all fail, or cool", function()
    for _, name in ipairs { "groq", "openai", "laptop" } do sim.provider(name):answers(500) end
    local result = sim.run(ask)
    assert.equal(3, #result.trail)
    assert.is_true(result.status >= 500)
    for _, target in ipairs { "groq/a", "openai/b", "laptop/c" } do sim.cool(target, 60) end
    assert.equal("60", sim.run(ask).headers["retry-after"])
  end)

  it("asks nobody more once the client has left", function()
    sim.provider("groq"):answers("stall")
    local result = sim.run(ask, { leaves = 1 })
    assert.equal("left", result.ended)
    assert.equal(1, #sim.asked())
  end)

  it("wants a time", function()
    assert.has_error(function() hedge { "groq/a" } end, "hedge wants after = s, in seconds")
  end)
end)
