local sim = require("weir.sim")
local strip = require("policies.strip")

describe("strip", function()
  local ask = strip { "openai/a", "laptop/b" }

  --- A provider that refuses a member, in these words.
  local function picky(name, member, error_said)
    sim.provider(name):answers(function(call)
      if call.body[member] ~= nil then return 400, error_said end
      return 200
    end)
  end

  for _, error_said in ipairs {
    { message = "Unsupported parameter: 'logprobs' is not supported with this model." },
    { message = "property 'logprobs' is unsupported" },
    { message = "Unrecognized request argument supplied: logprobs" },
    { message = "Unknown parameter: 'logprobs'.", param = "logprobs" },
    { message = "This model does not support it", param = "logprobs" },
  } do
    it("leaves out what is refused: " .. error_said.message, function()
      picky("openai", "logprobs", error_said)
      local result = sim.run(ask, { body = { logprobs = true, temperature = 1 } })
      assert.same({ "openai/a", "openai/a" }, result.targets)
      assert.equal(200, result.status)
      assert.equal(1, sim.asked()[2].body.temperature)
    end)
  end

  it("remembers it, for that target alone", function()
    picky("openai", "logprobs", { message = "Unknown parameter: 'logprobs'." })
    local request = { body = { logprobs = true } }
    sim.run(ask, request)
    assert.same({ "openai/a" }, sim.run(ask, request).targets)
    sim.cool("openai/a", 60)
    assert.equal("laptop/b", sim.run(ask, request).target)
    local asked = sim.asked()
    assert.is_true(asked[#asked].body.logprobs)
  end)

  it("learns one after the other", function()
    sim.provider("openai"):answers(function(call)
      for _, name in ipairs { "logprobs", "seed" } do
        if call.body[name] ~= nil then
          return 400, { message = ("Unknown parameter: '%s'."):format(name) }
        end
      end
      return 200
    end)
    local request = { body = { logprobs = true, seed = 1 } }
    assert.same({ "openai/a", "openai/a", "laptop/b" }, sim.run(ask, request).targets)
    assert.same({ "openai/a" }, sim.run(ask, request).targets)
  end)

  it("leaves the client's own mistakes to the client", function()
    for _, error_said in ipairs {
      { message = "messages is not supported", param = "messages" },
      { message = "temperature must be below 2", param = "temperature" },
    } do
      sim.reset()
      sim.provider("openai"):answers(400, error_said)
      local result = sim.run(ask, { body = { temperature = 9 } })
      assert.equal(400, result.status)
      assert.same({ "openai/a" }, result.targets)
    end
  end)

  it("asks no target twice for a member that is not there", function()
    sim.provider("openai"):answers(400, { message = "Unknown parameter: 'nowhere'." })
    assert.same({ "openai/a", "laptop/b" }, sim.run(ask).targets)
  end)

  it("goes on when a target fails otherwise", function()
    sim.provider("openai"):answers(500)
    assert.equal("laptop/b", sim.run(ask).target)
  end)
end)
