--- The digests are FIPS 180-4's and NIST's own examples.
local native = require("spec.support.native")
local C, ffi = native.load { "slice", "sha256" }

local function digest_of(text)
  local digest = ffi.new("unsigned char[32]")
  C.sha256(ffi.new("struct slice", { text, #text }), digest)
  return (ffi.string(digest, 32):gsub(".", function(c) return ("%02x"):format(c:byte()) end))
end

describe("sha256", function()
  it("gives the published digests", function()
    local known = {
      [""] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq =
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
      [("a"):rep(1000000)] = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
    }
    for text, digest in pairs(known) do assert.equal(digest, digest_of(text)) end
  end)

  it("pads wherever the text ends in its last block", function()
    local seen = {}
    for len = 0, 130 do
      local digest = digest_of(("x"):rep(len))
      assert.is_nil(seen[digest])
      seen[digest] = true
    end
    assert.equal("9f4390f8d30c2dd92ec9f095b65e2b9ae9b0a925a5258e241c9f1e910f734318",
      digest_of(("a"):rep(55)))
    assert.equal("ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb",
      digest_of(("a"):rep(64)))
  end)
end)
