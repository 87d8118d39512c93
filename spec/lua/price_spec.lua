-- What the tokens of a target cost.

require("spec.support.fake")
local price = require("weir.price")
local list = require("weir.prices").list

describe("price", function()
  local function of(type, model) return price.find(nil, "mine", type, model) end

  it("has every entry of the table that comes along, also the first and the last", function()
    local count = 0
    for type, model, input, output, cached in list:gmatch("(%w+)/(%S+) (%S+) (%S+) (%S+)\n") do
      assert.same({ input = tonumber(input), output = tonumber(output), cached = tonumber(cached) },
        of(type, model), type .. "/" .. model)
      count = count + 1
    end
    assert.equal(select(2, list:gsub("%S\n", "")), count)
    assert.is_true(count > 1000)
  end)

  it("of a version by its date is the model's, where it has none of its own", function()
    assert.is_nil(list:find("openai/gpt-4o-2031-02-03 ", 1, true))
    for dated, model in pairs { ["gpt-4o-2031-02-03"] = "gpt-4o", ["gpt-4o-20310203"] = "gpt-4o",
      ["gpt-4o@20310203"] = "gpt-4o", ["gpt-4o-latest"] = "gpt-4o", ["GPT-4o"] = "gpt-4o",
      ["gpt-4o-mini-2031-02-03"] = "gpt-4o-mini" } do
      assert.same(of("openai", model), of("openai", dated), dated)
    end
    assert.not_same(of("openai", "gpt-4o"), of("openai", "gpt-4o-2024-05-13"))
    assert.same(of("gemini", "gemini-2.5-flash"), of("gemini", "models/gemini-2.5-flash"))
  end)

  it("is none of what nobody knows", function()
    for _, model in ipairs { "gpt-4o-2031", "gpt-4o 2.5", "", "%w+", "gpt-4o-mini-x" } do
      assert.is_nil(of("openai", model), model)
    end
    assert.is_nil(of("open-ai", "gpt-4o"))
    assert.is_nil(of("open%w", "gpt-4o"))
  end)

  it("is weir.lua's first, by the target, then by the model", function()
    local own = { ["mine/gpt-4o"] = { input = 1, output = 1 },
      ["gpt-4o"] = { input = 2, output = 2 } }
    assert.same({ own["mine/gpt-4o"], true }, { price.find(own, "mine", "openai", "gpt-4o") })
    assert.same({ own["gpt-4o"], true }, { price.find(own, "other", "openai", "gpt-4o") })
    local found, is_own = price.find(own, "mine", "openai", "gpt-4.1")
    assert.is_true(found.input > 0)
    assert.is_false(is_own)
  end)
end)
