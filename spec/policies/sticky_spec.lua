local sim = require("weir.sim")
local sticky = require("policies.sticky")

local TARGETS = { "groq/a", "openai/b", "cerebras/c" }

local function conversation(number, turns)
  local messages = {
    { role = "system", content = "You are a helpful assistant" },
    { role = "user", content = "question " .. number },
  }
  for i = 1, turns or 0 do
    local role = i % 2 == 1 and "assistant" or "user"
    messages[#messages + 1] = { role = role, content = "turn " .. i }
  end
  return { messages = messages }
end

describe("sticky", function()
  local ask = sticky(TARGETS)

  it("keeps a conversation at its target as it grows", function()
    for number = 1, 20 do
      local target = sim.run(ask, conversation(number)).target
      assert.is_not_nil(target)
      for turns = 1, 3 do
        assert.equal(target, sim.run(ask, conversation(number, turns)).target)
      end
    end
  end)

  it("spreads conversations over all", function()
    local served = {}
    for number = 1, 300 do
      local target = sim.run(ask, conversation(number)).target
      served[target] = (served[target] or 0) + 1
    end
    for _, target in ipairs(TARGETS) do assert.is_true((served[target] or 0) > 60, target) end
  end)

  it("moves only the conversations of a target that cools, and back", function()
    local before = {}
    for number = 1, 60 do before[number] = sim.run(ask, conversation(number)).target end
    sim.cool("groq/a", 60)
    for number = 1, 60 do
      local target = sim.run(ask, conversation(number)).target
      if before[number] == "groq/a" then
        assert.not_equal("groq/a", target)
      else
        assert.equal(before[number], target)
      end
    end
    sim.sleep(61)
    for number = 1, 60 do
      assert.equal(before[number], sim.run(ask, conversation(number)).target)
    end
  end)

  it("can go by something else", function()
    local by_user = sticky(TARGETS, { key = function(req) return req.headers["x-user"] or "" end })
    local function target_of(number)
      local request = conversation(number)
      request.headers = { ["X-User"] = "ada" }
      return sim.run(by_user, request).target
    end
    assert.equal(target_of(1), target_of(2))
    assert.equal(target_of(1), target_of(3))
  end)

  it("serves what is no chat", function()
    assert.equal(200, sim.run(ask, { endpoint = "embeddings" }).status)
    assert.equal(200, sim.run(ask, { endpoint = "completions" }).status)
  end)
end)
