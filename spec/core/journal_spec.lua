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
