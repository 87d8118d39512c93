local cap = require("policies.cap")
local sim = require("weir.sim")

describe("cap", function()
  local ask = cap({ "openai/gpt" }, { tokens = 100 })

  local function sent(body)
    sim.run(ask, { body = body })
    local asked = sim.asked()
    return asked[#asked].body
  end

  it("sets a limit where there is none", function()
    assert.equal(100, sent().max_tokens)
  end)

  it("lowers what is higher, and leaves what is lower", function()
    assert.equal(100, sent({ max_tokens = 5000 }).max_tokens)
    assert.equal(7, sent({ max_tokens = 7 }).max_tokens)
  end)

  it("goes by the member that the client uses", function()
    local body = sent { max_completion_tokens = 5000 }
    assert.equal(100, body.max_completion_tokens)
    assert.is_nil(body.max_tokens)
  end)

  it("leaves embeddings alone", function()
    sim.run(ask, { endpoint = "embeddings" })
    assert.is_nil(sim.asked()[1].body.max_tokens)
  end)

  it("wants a number", function()
    assert.has_error(function() cap({ "openai/gpt" }) end,
      "cap wants tokens = n, the most that an answer may have")
  end)
end)
