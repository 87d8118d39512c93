local shadow = require("policies.shadow")
local sim = require("weir.sim")

--- The log lines about copies in a list of them.
local function shadows(log)
  local found = {}
  for _, line in ipairs(log) do
    if line.event == "shadow" then found[#found + 1] = line end
  end
  return found
end

describe("shadow", function()
  local ask = shadow({ "openai/a" }, { to = "laptop/b" })

  for _, stream in ipairs { false, true } do
    local how = stream and " of a stream" or ""

    it("sends a copy and answers with the first target's answer" .. how, function()
      local result = sim.run(ask, { stream = stream, body = { seed = 7 } })
      assert.equal("openai/a", result.target)
      assert.equal("Hello from openai", result.text)
      assert.same({ "openai/a" }, result.targets)
      local copy = sim.provider("laptop").asked[1]
      assert.equal(7, copy.body.seed)
      assert.equal(stream, copy.stream)
      assert.equal("1", result.headers["x-weir-attempts"])
    end)

    it("logs what came of the copy" .. how, function()
      sim.provider("laptop"):answers(200, { usage = { prompt = 4, completion = 5 } })
      local line = shadows(sim.run(ask, { stream = stream }).log)[1]
      assert.equal("laptop/b", line.target)
      assert.equal("ok", line.outcome)
      assert.equal(200, line.status)
      assert.equal(4, line.prompt_tokens)
      assert.equal(5, line.completion_tokens)
    end)

    it("does not wait for the copy" .. how, function()
      sim.provider("laptop"):answers(200, { latency = 20 })
      local result = sim.run(ask, { stream = stream })
      assert.equal(0, result.seconds)
      assert.equal("ok", shadows(result.log)[1].outcome)
    end)

    it("keeps the copy's failure to itself" .. how, function()
      for _, failure in ipairs { 500, "reset", "html", "refused" } do
        sim.reset()
        sim.provider("laptop"):answers(failure)
        local result = sim.run(ask, { stream = stream })
        assert.equal(200, result.status)
        assert.equal("complete", result.ended)
        assert.equal(1, #shadows(result.log))
        assert.is_true(shadows(result.log)[1].outcome ~= "ok")
      end
    end)

    it("ends the copy with the total clock" .. how, function()
      sim.provider("laptop"):answers("stall")
      local slow = shadow({ "openai/a" }, { to = "laptop/b", timeout = { first = 0, total = 30 } })
      local line = shadows(sim.run(slow, { stream = stream }).log)[1]
      assert.equal("timeout", line.outcome)
      assert.equal(30000, line.ms)
    end)
  end

  it("ends a copy without any clock at last", function()
    sim.settings { timeout = { total = 100000 } }
    sim.provider("laptop"):answers("stall")
    local endless = shadow({ "openai/a" }, { to = "laptop/b", timeout = { first = 0, total = 0 } })
    assert.equal(600000, shadows(sim.run(endless).log)[1].ms)
  end)

  it("closes the copy when the client leaves", function()
    sim.provider("openai"):answers("stall")
    sim.provider("laptop"):answers("stall")
    local result = sim.run(ask, { leaves = 2 })
    assert.equal("left", result.ended)
    assert.equal("cancelled", shadows(result.log)[1].outcome)
    assert.equal(2000, shadows(result.log)[1].ms)
  end)

  it("lets a copy that is refused cool its own target, and never the key", function()
    local same = shadow({ "openai/a" }, { to = "openai/b" })
    sim.provider("openai"):answers(function(call)
      if call.model == "b" then return 401 end
      return 200
    end)
    assert.equal("credential", shadows(sim.run(same).log)[1].outcome)
    local again = sim.run(same)
    assert.equal("openai/a", again.target)
    assert.equal(0, #shadows(again.log))
  end)

  it("leaves the answer for want of targets as it was", function()
    sim.cool("openai/a", 50)
    sim.cool("laptop/b", 5)
    assert.equal("50", sim.run(ask).headers["retry-after"])
  end)

  it("gives the copy an edit of its own", function()
    local edited = shadow({ "openai/a" }, { to = "laptop/b", edit = function(body)
      body.temperature = 0
    end })
    sim.run(edited, { body = { temperature = 1 } })
    assert.equal(1, sim.provider("openai").asked[1].body.temperature)
    assert.equal(0, sim.provider("laptop").asked[1].body.temperature)
  end)

  it("does not pass the client's idempotency key on", function()
    sim.run(ask, { headers = { ["idempotency-key"] = "once" } })
    assert.equal("once", sim.provider("openai").asked[1].headers["idempotency-key"])
    assert.is_nil(sim.provider("laptop").asked[1].headers["idempotency-key"])
  end)

  it("takes a share of the requests", function()
    local some = shadow({ "openai/a" }, { to = "laptop/b", share = 0.3 })
    for _ = 1, 1000 do sim.run(some) end
    local count = #sim.provider("laptop").asked
    assert.is_true(count > 200 and count < 400, count .. " copies of 1000")
    sim.reset()
    sim.run(shadow({ "openai/a" }, { to = "laptop/b", share = 0 }))
    assert.equal(0, #sim.provider("laptop").asked)
  end)

  it("leaves copies out before they are too many", function()
    sim.provider("laptop"):answers("stall")
    local requests = {}
    for i = 1, 300 do requests[i] = {} end
    local skipped = 0
    for _, result in ipairs(sim.all(ask, requests)) do
      assert.equal(200, result.status)
      if shadows(result.log)[1].outcome == "skipped" then skipped = skipped + 1 end
    end
    assert.equal(44, skipped)
  end)

  it("names what it was made with wrongly", function()
    assert.has_error(function() shadow({ "openai/a" }) end,
      "shadow wants to = target, where the copies go")
    assert.has_error(function() shadow({ "openai/a" }, { to = "laptop/b", share = 2 }) end,
      "shadow: share is a part of the requests, from 0 to 1")
  end)
end)
