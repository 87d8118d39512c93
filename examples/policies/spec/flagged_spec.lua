local sim = require("weir.sim")

local function target()
  return sim.request { model = "flagged" }.target
end

describe("flagged", function()
  local flags

  before_each(function()
    flags = sim.host("https://flags.example")
  end)

  it("serves with the policy that the flag names", function()
    flags:answers("json", { route = "home" })
    assert.equal("laptop/llama3.2", target())
    assert.equal("/route", flags.asked[1].path)
  end)

  it("serves with the default while the flags are away, or say what nobody knows", function()
    flags:answers(503, "busy"):answers("refused"):answers("json", { route = "moon" })
    for _ = 1, 3 do assert.equal("groq/llama-3.3-70b-versatile", target()) end
  end)

  it("serves with the default when the flags are slow", function()
    flags:answers("unreachable")
    assert.equal("groq/llama-3.3-70b-versatile", target())
  end)
end)
