local native = require("spec.support.native")
local C, ffi = native.load({ "slice", "err", "shared" })

local function slice(text)
  return ffi.new("struct slice", { text, #text })
end

local function value(of)
  local v = ffi.new("struct shared_value")
  if type(of) == "string" then
    v.type, v.len = C.SHARED_STRING, #of
    ffi.copy(v.text, of, #of)
  elseif type(of) == "boolean" then
    v.type, v.number = C.SHARED_BOOLEAN, of and 1 or 0
  else
    v.type, v.number = C.SHARED_NUMBER, of
  end
  return v
end

describe("shared", function()
  local shared

  before_each(function() shared = C.shared_new() end)
  after_each(function() C.shared_free(shared) end)

  local function set(key, of, until_us, now_us)
    return C.shared_set(shared, slice(key), value(of), until_us or 0, now_us or 1)
  end

  local function get(key, now_us)
    local v = ffi.new("struct shared_value")
    C.shared_get(shared, slice(key), now_us or 1, v)
    if v.type == C.SHARED_NOTHING then return nil end
    if v.type == C.SHARED_STRING then return ffi.string(v.text, v.len) end
    if v.type == C.SHARED_BOOLEAN then return v.number ~= 0 end
    return v.number
  end

  local function add(key, by, until_us, now_us)
    local out = ffi.new("double[1]")
    local err = C.shared_add(shared, slice(key), by, until_us or 0, now_us or 1, out)
    return err == C.ERR_OK and out[0] or nil, err
  end

  it("has nothing at first", function()
    assert.is_nil(get("a"))
  end)

  it("gives back strings, numbers and booleans as they were set", function()
    set("s", "text\0with a zero")
    set("n", 0.25)
    set("b", false)
    assert.equal("text\0with a zero", get("s"))
    assert.equal(0.25, get("n"))
    assert.equal(false, get("b"))
  end)

  it("replaces, also by another type", function()
    set("a", "long text")
    set("a", 7)
    assert.equal(7, get("a"))
  end)

  it("forgets what was deleted", function()
    set("a", 1)
    C.shared_delete(shared, slice("a"))
    assert.is_nil(get("a"))
  end)

  it("forgets at the end of its time, not before", function()
    set("a", 1, 100)
    assert.equal(1, get("a", 99))
    assert.is_nil(get("a", 100))
  end)

  it("adds in one step, and keeps the end that a counter began with", function()
    assert.equal(2, add("n", 2, 100))
    assert.equal(5, add("n", 3, 900))
    assert.is_nil(get("n", 100))
    assert.equal(1, add("n", 1, 0, 100))
  end)

  it("adds to no text", function()
    set("a", "text")
    local sum, err = add("a", 1)
    assert.is_nil(sum)
    assert.equal(tonumber(C.ERR_TYPE), tonumber(err))
  end)

  it("refuses a key that is too long, and takes the longest that is not", function()
    assert.equal(tonumber(C.ERR_TOO_LARGE), tonumber(set(("k"):rep(201), 1)))
    assert.equal(tonumber(C.ERR_OK), tonumber(set(("k"):rep(200), 1)))
    assert.equal(1, get(("k"):rep(200)))
  end)

  it("stays bounded: the oldest gives way, and what it keeps is right", function()
    local kept = 0
    for i = 1, 20000 do set("key" .. i, i, 0, i) end
    for i = 1, 20000 do
      local found = get("key" .. i, 20001)
      if found then
        assert.equal(i, found)
        kept = kept + 1
      end
    end
    assert.is_true(kept > 3000 and kept <= 4096, "kept " .. kept)
    assert.equal(20000, get("key20000", 20001))
  end)

  it("lets go of what ends soonest before what has no end", function()
    for i = 1, 4096 * 4 do set("short" .. i, i, 1000000, i) end
    set("for ever", "yes", 0, 20000)
    for i = 1, 4096 * 4 do set("more" .. i, i, 1000000, 20000 + i) end
    assert.equal("yes", get("for ever", 50000))
  end)
end)
