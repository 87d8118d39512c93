local route = require("policies.route")
local sim = require("weir.sim")

describe("route", function()
  local ask = route {
    { images = true, to = { "openai/eyes" } },
    { tools = true, stream = false, to = { "openai/hands" } },
    { key = "batch", to = { "laptop/slow" } },
    { above = 1000, to = { "openrouter/long" } },
    { when = function(req) return req.headers["x-vip"] ~= nil end, to = { "cerebras/fast" } },
    { to = { "groq/short" } },
  }

  local function target_of(request) return sim.run(ask, request).target end

  it("takes the first rule that a request meets", function()
    local image = { type = "image_url", image_url = { url = "data:," } }
    local looks = { { role = "user", content = { { type = "text", text = "see" }, image } } }
    assert.equal("openai/eyes", target_of { messages = looks, key = "batch" })
    assert.equal("openai/hands", target_of { body = { tools = { { type = "function" } } } })
    assert.equal("laptop/slow", target_of { key = "batch" })
    local long = { { role = "user", content = ("x"):rep(1001) } }
    assert.equal("openrouter/long", target_of { messages = long })
    assert.equal("cerebras/fast", target_of { headers = { ["X-VIP"] = "yes" } })
    assert.equal("groq/short", target_of())
  end)

  it("wants all conditions of a rule", function()
    local request = { stream = true, body = { tools = { { type = "function" } } } }
    assert.equal("groq/short", target_of(request))
  end)

  it("says so when no rule fits", function()
    local result = sim.run(route { { key = "ann", to = { "groq/a" } } })
    assert.equal(404, result.status)
  end)

  it("refuses rules that it cannot follow", function()
    assert.has_error(function() route { { tool = true, to = { "groq/a" } } } end,
      "route: rule 1 has a condition 'tool' that is not known")
    assert.has_error(function() route { { tools = true } } end, "route: rule 1 goes nowhere")
  end)
end)
