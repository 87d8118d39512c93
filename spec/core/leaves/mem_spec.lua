local native = require("spec.support.native")

local C, ffi = native.load { "slice", "mem" }

local ROOM = 16384

-- No two neighbours alike, and no period that a wrong piece could hide in.
local function fresh()
  local bytes, seed = ffi.new("unsigned char[?]", ROOM), 7
  for i = 0, ROOM - 1 do
    seed = (seed * 16807) % 2147483647
    bytes[i] = seed % 251
  end
  return bytes
end

local function part(bytes, from, len)
  return ffi.string(bytes + from, len)
end

describe("mem_copy", function()
  it("copies that many bytes and touches no other", function()
    for _, len in ipairs { 0, 1, 15, 2047, 2048, 2049, 4095, 4096, 4097, 6144, 10001 } do
      for _, at in ipairs { 1, 31, 32 } do
        local from, to = fresh(), ffi.new("unsigned char[?]", ROOM)
        ffi.fill(to, ROOM, 255)
        C.mem_copy(to + at, from + 8, len)
        assert.is_true(part(to, at, len) == part(from, 8, len), len .. " bytes")
        assert.equal(255, to[at - 1])
        assert.equal(255, to[at + len])
      end
    end
  end)

  it("moves bytes towards the front of what they lie in", function()
    for _, by in ipairs { 1, 17, 2047, 2048, 2049, 5000 } do
      local bytes = fresh()
      local wanted = part(bytes, by, 9000)
      C.mem_copy(bytes, bytes + by, 9000)
      assert.is_true(part(bytes, 0, 9000) == wanted, "by " .. by)
    end
  end)

  it("accepts null for nothing", function()
    assert.has_no.errors(function() C.mem_copy(nil, nil, 0) end)
  end)
end)
