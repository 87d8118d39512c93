local fake = require("spec.support.fake")
local waterfall = require("policies.waterfall")

describe("waterfall", function()
  local ask = waterfall { "groq/llama", "openai/gpt" }

  it("keeps to the first target while it answers", function()
    local req = fake.request { groq = 200, openai = 200 }
    assert.equal(200, ask(req).status)
    assert.same({ "groq/llama" }, req.sent)
  end)

  for _, fault in ipairs { 429, 402, 408, 404, 401, 403, 500, 502, 503, 504, 529, "timeout",
    "refused", "reset", "dns", "tls", "truncated", "bad_response" } do
    it("moves on after " .. fault, function()
      local req = fake.request { groq = fault, openai = 200 }
      assert.equal(200, ask(req).status)
      assert.same({ "groq/llama", "openai/gpt" }, req.sent)
    end)
  end

  for _, fault in ipairs { 400, 413, 422, "cancelled" } do
    it("ends after " .. fault .. ", which another target cannot mend", function()
      local req = fake.request { groq = fault, openai = 200 }
      local res, err = ask(req)
      assert.is_nil(res)
      assert.is_true(err.final)
      assert.same({ "groq/llama" }, req.sent)
    end)
  end

  it("gives back the last failure when nobody answers", function()
    local res, err = ask(fake.request { groq = 429, openai = "timeout" })
    assert.is_nil(res)
    assert.equal("timeout", err.code)
    assert.equal("openai/gpt", err.target)
  end)

  it("leaves out what is cooling", function()
    local req = fake.request({ openai = 200 }, { cooling = { ["groq/llama"] = true } })
    assert.equal(200, ask(req).status)
    assert.same({ "openai/gpt" }, req.sent)
  end)

  it("tries nothing and gives nothing when all are cooling", function()
    local cooling = { ["groq/llama"] = true, ["openai/gpt"] = true }
    local req = fake.request({}, { cooling = cooling })
    assert.equal(2, select("#", ask(req)))
    assert.same({}, req.sent)
  end)

  it("starts from the first target at each request", function()
    ask(fake.request { groq = 429, openai = 200 })
    local req = fake.request { groq = 200 }
    ask(req)
    assert.same({ "groq/llama" }, req.sent)
  end)

  it("records its targets and refuses what is no target where it is made", function()
    local recorded = require("weir.targets").recorded()
    assert.same({ "groq/llama", "openai/gpt" }, recorded[1])
    local ok, err = pcall(function()
      local policy = waterfall { "groq" }
      return policy
    end)
    assert.is_false(ok)
    assert.truthy(err:find("waterfall_spec.lua:%d+: target 1 must be"))
  end)
end)
