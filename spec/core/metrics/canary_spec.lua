local native = require("spec.support.native")

local C, ffi = native.load { "slice", "canary" }

describe("canary_judge", function()
  local function judge(old, fresh, is_due)
    local sides = ffi.new("struct canary_counts[2]", { old, fresh })
    return tonumber(C.canary_judge(sides, sides + 1, 100, is_due ~= false))
  end

  local GOES_ON, GOOD, BAD = 0, 1, 2

  it("finds good what fails as seldom, after enough requests and time", function()
    assert.equal(GOOD, judge({ 2000, 20 }, { 100, 1 }))
    assert.equal(GOOD, judge({ 2000, 0 }, { 100, 0 }))
    assert.equal(GOES_ON, judge({ 2000, 20 }, { 99, 1 }))
    assert.equal(GOES_ON, judge({ 2000, 20 }, { 100, 1 }, false))
  end)

  it("finds bad what fails more often, as soon as that is seen", function()
    assert.equal(BAD, judge({ 2000, 0 }, { 3, 3 }, false))
    assert.equal(BAD, judge({ 2000, 20 }, { 100, 5 }))
    assert.equal(BAD, judge({ 0, 0 }, { 10, 3 }))
  end)

  it("takes two errors for chance", function()
    assert.equal(GOES_ON, judge({ 2000, 0 }, { 2, 2 }, false))
    assert.equal(GOES_ON, judge({ 2000, 0 }, { 500, 2 }))
  end)

  it("blames nobody for what the old one suffers too", function()
    assert.equal(GOOD, judge({ 2000, 1000 }, { 100, 52 }))
    assert.equal(GOES_ON, judge({ 2000, 1000 }, { 100, 60 }))
    assert.equal(BAD, judge({ 2000, 1000 }, { 100, 70 }))
  end)

  it("does not wait for ever", function()
    assert.equal(GOES_ON, judge({ 9000, 0 }, { 999, 2 }))
    assert.equal(GOOD, judge({ 9000, 0 }, { 1000, 2 }))
  end)
end)

describe("canary_place", function()
  local function place(key, text)
    return C.canary_place(key, ffi.new("struct slice", { text, #text }))
  end

  local SYSTEM = '{"role":"system","content":"Be brief."}'
  local function chat(...) return "[" .. table.concat({ SYSTEM, ... }, ",") .. "]" end
  local function said(role, text) return ('{"role":"%s","content":"%s"}'):format(role, text) end

  it("keeps a conversation in its place as it goes on", function()
    local first = place("ann", chat(said("user", "Hello")))
    assert.equal(first, place("ann", chat(said("user", "Hello"), said("assistant", "Hi"),
      said("user", "How are you?"))))
    assert.not_equal(first, place("ann", chat(said("user", "Hi"))))
    assert.not_equal(first, place("bob", chat(said("user", "Hello"))))
  end)

  it("puts as many into each tenth", function()
    local tenths = {}
    for i = 1, 10000 do
      local at = math.floor(place("ann", chat(said("user", "question " .. i))) * 10)
      tenths[at] = (tenths[at] or 0) + 1
    end
    for at = 0, 9 do
      assert.is_true(tenths[at] > 880 and tenths[at] < 1120, at .. " has " .. tenths[at])
    end
  end)

  it("reads any other text whole", function()
    assert.not_equal(place(nil, '"a"'), place(nil, '"b"'))
    assert.not_equal(place(nil, '[1,2]'), place(nil, '[1,3]'))
  end)
end)

describe("a canary's tally", function()
  it("counts for two generations, and for no other", function()
    local canary = C.canary_new()
    local old, fresh = ffi.new("struct canary_counts"), ffi.new("struct canary_counts")
    C.canary_count(canary, 0, true)
    C.canary_begin(canary, 4, 5)
    for number = 3, 6 do C.canary_count(canary, number, number == 5) end
    C.canary_count(canary, 4, false)
    C.canary_read(canary, old, fresh)
    assert.same({ 2, 0, 1, 1 }, { tonumber(old.requests), tonumber(old.errors),
      tonumber(fresh.requests), tonumber(fresh.errors) })
    C.canary_begin(canary, 5, 6)
    C.canary_read(canary, old, fresh)
    assert.same({ 0, 0 }, { tonumber(old.requests), tonumber(fresh.errors) })
    C.canary_free(canary)
  end)
end)
