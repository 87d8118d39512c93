local words = require("weir.clerk_words")

describe("words of limits", function()
  it("say how long a request took", function()
    assert.same({ 500, 10000, 1500, 90000 }, { words.milliseconds("500ms"),
      words.milliseconds("10s"), words.milliseconds("1.5s"), words.milliseconds("1.5m") })
    for _, text in ipairs { "10", "s", "-1s", "10h", "", "9999999s" } do
      assert.is_nil((words.milliseconds(text)))
    end
  end)
end)
