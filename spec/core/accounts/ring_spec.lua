-- Records on their way from workers to the clerk.

local native = require("spec.support.native")
local C, ffi = native.load { "slice", "ring" }

describe("a ring", function()
  local rings, record

  before_each(function() rings, record = C.rings_new(), ffi.new("struct slice") end)
  after_each(function() C.rings_free(rings) end)

  local function put(text, worker)
    return C.rings_put(rings, worker or 0, ffi.new("struct slice", { text, #text }))
  end

  --- All that is there, without taking it; gives where they end, too.
  local function look(worker)
    local at, list = ffi.new("uint64_t[1]", C.rings_begin(rings, worker or 0)), {}
    while C.rings_next(rings, worker or 0, at, record) do
      list[#list + 1] = ffi.string(record.ptr, record.len)
    end
    return list, at[0]
  end

  local function take(worker)
    local list, at = look(worker)
    C.rings_take(rings, worker or 0, at)
    return list
  end

  local function dropped() return tonumber(C.rings_counted(rings, C.RINGS_DROPPED)) end

  it("gives records in their order, each worker's apart", function()
    put("one")
    put("")
    put("other", 63)
    put("three")
    assert.same({ "one", "", "three" }, look())
    assert.same({ "other" }, look(63))
    assert.same({}, look(1))
  end)

  it("gives them again until they are taken", function()
    put("one")
    assert.same({ "one" }, look())
    assert.same({ "one" }, take())
    assert.same({}, look())
    put("two")
    assert.same({ "two" }, take())
  end)

  it("goes round and round with records of any length", function()
    local length = 1
    for i = 1, 400 do
      length = (length * 7919 + i) % 60000
      local first, second = ("a"):rep(length), ("b"):rep(length % 1000)
      assert.is_true(put(first))
      assert.is_true(put(second))
      assert.same({ first, second }, take())
    end
    assert.equal(0, dropped())
  end)

  it("drops and counts what finds no room, and takes more when there is", function()
    local large = ("x"):rep(C.RING_BYTES / 4)
    for _ = 1, 3 do assert.is_true(put(large)) end
    assert.is_false(put(large)) -- for lengths take room, too
    assert.equal(1, dropped())
    assert.is_true(put("small"))
    assert.equal(4, #take())
    assert.is_true(put(large))
    assert.same({ large }, take())
    assert.is_false(put(("x"):rep(C.RING_BYTES + 1)))
    assert.equal(2, dropped())
  end)

  it("fills to the last byte", function()
    local count = C.RING_BYTES / 16
    for _ = 1, count do assert.is_true(put("12345678")) end
    assert.is_false(put(""))
    assert.equal(count, #take())
    assert.is_true(put(""))
  end)

  it("has no byte of what was taken", function()
    local function holds(text)
      local bytes = ffi.cast("char *", rings)
      return ffi.string(bytes, C.RING_BYTES + 8192):find(text, 1, true) ~= nil
    end
    put(("x"):rep(C.RING_BYTES - 1000))
    take()
    put("marker-one")
    put(("marker"):rep(300)) -- across the end
    assert.is_true(holds("marker"))
    take()
    assert.is_false(holds("marker"))
  end)

  it("counts what workers without one would put", function()
    assert.is_false(put("one", C.RING_COUNT))
    assert.equal(1, dropped())
  end)
end)
