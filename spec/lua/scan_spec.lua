local scan = require("weir.scan")

describe("scan", function()
  it("finds the first place of all patterns, and the longer of two that begin there", function()
    local find = scan.new { { "b+", "B" }, { "ab", "AB" }, { "a", "A" } }
    assert.same({ 2, 3, "AB" }, { find("xab", 1) })
    assert.same({ 3, 3, "B" }, { find("xab", 3) })
    assert.same({}, { find("xab", 4) })
  end)

  it("takes functions like string.find", function()
    local find = scan.new { { function(text, init) return text:find("$", init, true) end, "S" } }
    assert.equal("1S2S", scan.replace("1$2$", find))
  end)

  it("passes over places without a byte", function()
    local find = scan.new { { "%f[%w]", "!" }, { "x*", "X" } }
    assert.equal("a b X c X", scan.replace("a b xx c x", find))
  end)

  it("gives the same text back where nothing is found", function()
    local find = scan.new { { "x", "y" } }
    assert.equal("abc", scan.replace("abc", find))
    assert.equal("", scan.replace("", find))
  end)

  it("forgets one text when it sees another, and looks again from the start", function()
    local find = scan.new { { "x", "y" } }
    assert.equal("ay", scan.replace("ax", find))
    assert.equal("ya", scan.replace("xa", find))
    assert.equal("ya", scan.replace("xa", find))
    assert.same({ 1, 1, "y" }, { find("xa", 1) })
  end)

  it("searches each pattern once over a text with many places", function()
    local searched = 0
    local find = scan.new {
      { "a", "A" },
      { function() searched = searched + 1 end, "never" },
    }
    scan.replace(("a"):rep(1000), find)
    assert.equal(1, searched)
  end)
end)
