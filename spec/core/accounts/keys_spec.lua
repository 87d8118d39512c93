local native = require("spec.support.native")
local C, ffi = native.load { "slice", "sha256", "keys" }

local function slice(text) return ffi.new("struct slice", { text, #text }) end

local function digest_of(text)
  local digest = ffi.new("unsigned char[32]")
  C.sha256(slice(text), digest)
  return digest
end

describe("keys", function()
  local keys, found

  local function put(number, name, members)
    local account = ffi.new("struct keys_account", members or {})
    account.number = number
    ffi.copy(account.name, name)
    assert.is_true(C.keys_put(keys, account))
  end

  local function find(text, now) return C.keys_find(keys, digest_of(text), now or 1000, found) end

  before_each(function()
    keys, found = C.keys_new(), ffi.new("struct keys_account")
    put(1, "alice")
    C.keys_put_digest(keys, digest_of("secret"), 1, 0)
  end)
  after_each(function() C.keys_free(keys) end)

  it("are found by their digest alone", function()
    assert.is_true(find("secret"))
    assert.equal("alice", ffi.string(found.name))
    assert.is_false(find("Secret"))
    assert.is_false(find(""))
  end)

  it("are nobody's once revoked, or past their time", function()
    put(1, "alice", { is_revoked = true })
    assert.is_false(find("secret"))
    put(1, "alice", { expires_s = 1001 })
    assert.is_true(find("secret", 1000))
    assert.is_false(find("secret", 1001))
  end)

  it("have two digests while a rotated one is still good", function()
    C.keys_put_digest(keys, digest_of("new"), 1, 0)
    C.keys_put_digest(keys, digest_of("secret"), 1, 1060)
    assert.is_true(find("new", 1059))
    assert.is_true(find("secret", 1059))
    assert.is_false(find("secret", 1060))
    assert.is_true(find("new", 1060))
  end)

  it("are a hundred thousand without losing one", function()
    for i = 2, 100000 do
      put(i, "key" .. i)
      assert.is_true(C.keys_put_digest(keys, digest_of("secret" .. i), i, 0))
    end
    for i = 2, 100000, 997 do
      assert.is_true(find("secret" .. i))
      assert.equal(i, found.number)
    end
    assert.is_false(find("secret1"))
  end)

  it("take no number that there is no room for", function()
    local account = ffi.new("struct keys_account")
    account.number = C.KEYS_MAX
    assert.is_false(C.keys_put(keys, account))
    account.number = 0
    assert.is_false(C.keys_put(keys, account))
  end)

  it("allow the models that are named, or any", function()
    local account = ffi.new("struct keys_account")
    assert.is_true(C.keys_allow(account, slice("anything")))
    ffi.copy(account.models, "default,fast,")
    assert.is_true(C.keys_allow(account, slice("default")))
    assert.is_true(C.keys_allow(account, slice("fast")))
    assert.is_false(C.keys_allow(account, slice("fas")))
    assert.is_false(C.keys_allow(account, slice("default,fast")))
    assert.is_false(C.keys_allow(account, slice("")))
  end)
end)
