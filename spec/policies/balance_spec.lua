local balance = require("policies.balance")
local sim = require("weir.sim")

--- How often each target served first.
local function shares(policy, count)
  local served = {}
  for _ = 1, count do
    local target = sim.run(policy).targets[1]
    served[target] = (served[target] or 0) + 1
  end
  return served
end

describe("balance", function()
  it("spreads requests by weight", function()
    local served = shares(balance({ "groq/a", "openai/b" }, { weights = { 3, 1 } }), 400)
    assert.is_true(served["groq/a"] > 260 and served["groq/a"] < 340, served["groq/a"])
    assert.equal(400, served["groq/a"] + served["openai/b"])
  end)

  it("spreads them evenly without weights", function()
    local served = shares(balance { "groq/a", "openai/b", "cerebras/c" }, 300)
    for _, target in ipairs { "groq/a", "openai/b", "cerebras/c" } do
      assert.is_true(served[target] > 65, target)
    end
  end)

  it("goes on with another when the drawn one fails", function()
    sim.provider("groq"):answers(500)
    local policy = balance({ "groq/a", "openai/b" }, { weights = { 1, 0 } })
    local result = sim.run(policy)
    assert.same({ "groq/a", "openai/b" }, result.targets)
    assert.equal(200, result.status)
  end)

  it("leaves out what is cooling", function()
    sim.cool("groq/a", 60)
    assert.same({ ["openai/b"] = 20 }, shares(balance { "groq/a", "openai/b" }, 20))
  end)

  it("refuses weights that are none", function()
    assert.has_error(function() balance({ "groq/a" }, { weights = { -1 } }) end,
      "balance: weights[1] must be a number from 0 on")
  end)
end)
