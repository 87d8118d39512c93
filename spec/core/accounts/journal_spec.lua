--- The file in which a worker keeps what it owes the ledger.
local lfs = require("lfs")
local native = require("spec.support.native")
local support = require("spec.support.gateway")
local C, ffi = native.load { "slice", "journal" }

describe("journal", function()
  local folder

  before_each(function() folder = support.folder {} end)
  after_each(function() support.remove_folder(folder) end)

  it("has its blocks from the beginning", function()
    local journal = C.journal_new(folder, 1, 0)
    local path = ffi.string(journal ~= nil and C.journal_path(journal) or "")
    local found = lfs.attributes(path)
    assert.is_true(found.size >= C.JOURNAL_SLOTS * 512)
    assert.is_true(found.blocks * 512 >= found.size)
    assert.equal("rw-------", found.permissions)
    C.journal_free(journal)
  end)

  it("gives each slot once, and -1 when there is none", function()
    local journal, seen = C.journal_new(folder, 1, 0), {}
    for _ = 1, C.JOURNAL_SLOTS do seen[C.journal_take(journal)] = true end
    for at = 0, C.JOURNAL_SLOTS - 1 do assert.is_true(seen[at]) end
    assert.equal(-1, C.journal_take(journal))
    C.journal_set(journal, 12345, C.SLOT_FREE)
    assert.equal(12345, C.journal_take(journal))
    C.journal_free(journal)
  end)

  it("cannot be made where there is no folder for it", function()
    assert.is_true(C.journal_new(folder .. "/none/none", 1, 0) == nil)
  end)

  describe("that is opened", function()
    local damaged = ffi.new("int[1]")

    --- A slot as workers write it, with these members.
    local function closed(journal, members)
      local at = C.journal_take(journal)
      local slot = C.journal_slot(journal, at)
      slot.account, slot.team, slot.is_attempt, slot.started_us = 1, 2, 1, 1
      ffi.copy(slot.request, "req_1")
      for name, value in pairs(members) do slot[name] = value end
      C.journal_set(journal, at, C.SLOT_CLOSED)
      return at, slot
    end

    it("has lost the slots that no worker has written so", function()
      local journal = C.journal_new(folder, 1, 0)
      local path = ffi.string(C.journal_path(journal))
      local sound = closed(journal, {})
      for _, members in ipairs { { endpoint = -1 }, { account = -5 }, { account = 0 },
        { team = -1 }, { is_attempt = 7 }, { cost = -1 }, { cost = 2LL ^ 60 }, { reserved = -1 },
        { reserved = 2LL ^ 60 }, { number = -1 }, { started_us = 0 }, { ended_us = -1 },
        { request = "" }, { target = ("x"):rep(128) }, { model = ("x"):rep(128) },
        { code = ("x"):rep(24) }, { request = ("x"):rep(32) } } do
        closed(journal, members)
      end
      local odd = closed(journal, {})
      C.journal_set(journal, odd, 77)
      local opening = C.journal_take(journal)
      C.journal_free(journal)
      journal = C.journal_open(path, damaged)
      assert.equal(18, damaged[0])
      for at = 0, C.JOURNAL_SLOTS - 1 do
        local expected = at == sound and C.SLOT_CLOSED or at == opening and C.SLOT_OPENING
          or C.SLOT_FREE
        if tonumber(C.journal_state(journal, at)) ~= expected then error("slot " .. at) end
      end
      C.journal_free(journal)
    end)

    it("is none where the file is cut, or another version's", function()
      local journal = C.journal_new(folder, 1, 0)
      local path = ffi.string(C.journal_path(journal))
      C.journal_free(journal)
      local file = assert(io.open(path, "r+b"))
      file:write("WEIRJNL0")
      file:close()
      for _, name in ipairs { path, folder .. "/cut" } do
        local made = assert(io.open(name, "ab"))
        made:close()
        assert.is_true(C.journal_open(name, damaged) == nil)
        assert.equal(74, ffi.errno()) -- EBADMSG
      end
      assert.is_true(C.journal_open(folder .. "/none", damaged) == nil)
      assert.equal(2, ffi.errno()) -- ENOENT
    end)
  end)

  it("is swept away where its maker was killed long ago, and only there", function()
    for _, name in ipairs { "old.new", "young.new" } do
      assert(io.open(folder .. "/" .. name, "w")):close()
    end
    lfs.touch(folder .. "/old.new", os.time() - 100)
    for _, name in ipairs { "old.new", "young.new", "none.new" } do
      C.journal_sweep(folder .. "/" .. name)
    end
    assert.is_nil(lfs.attributes(folder .. "/old.new"))
    assert.is_truthy(lfs.attributes(folder .. "/young.new"))
  end)
end)
