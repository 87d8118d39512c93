--- What workers and masters that were killed leave, and clerks killed while they settle that.
local libc = require("spec.support.libc")
local native = require("spec.support.native")
local C, ffi = native.load { "slice", "sha256", "keys", "journal", "budget", "estate" }

local ROUNDS = tonumber(os.getenv("KILLS") or 60)
local SLOTS, COST = 3000, 7

pcall(ffi.cdef, [[
  int fork(void);
  int getpid(void);
  int waitpid(int pid, int *status, int options);
  int usleep(unsigned usec);
]])

describe("estate", function()
  local keys, budget, seat, journal, folder
  local no = ffi.new("struct budget_refusal")

  before_each(function()
    folder = require("spec.support.gateway").folder {}
    keys = C.keys_new()
    budget = C.budget_new(keys)
    for number = 1, 2 do
      assert.is_true(C.keys_put(keys, ffi.new("struct keys_account",
        { number = number, team = number == 1 and 2 or 0, has_budget = true, budget = 1e12,
          warns_at = 1e12 })))
    end
    C.budget_loaded(budget)
    seat = C.budget_sit(budget)
    journal = C.journal_new(folder, C.budget_run(budget), seat)
  end)
  after_each(function()
    C.journal_free(journal)
    C.budget_free(budget)
    C.keys_free(keys)
    require("spec.support.gateway").remove_folder(folder)
  end)

  --- A slot of an attempt that reserved COST; its state is OPENING.
  local function take()
    local at = C.journal_take(journal)
    local slot = C.journal_slot(journal, at)
    slot.account, slot.team, slot.is_attempt, slot.reserved = 1, 2, 1, COST
    return at, slot
  end

  local function open()
    local at, slot = take()
    assert.is_true(C.budget_reserve(budget, seat, slot, 0, no))
    C.journal_set(journal, at, C.SLOT_OPEN)
    return at, slot
  end

  local function purses(of)
    local list = {}
    for number = 1, 2 do
      local purse = C.budget_look(of or budget, number, 0)
      list[number] = { spent = tonumber(purse.spent), reserved = tonumber(purse.reserved) }
    end
    assert.same(list[1], list[2])
    return list[1]
  end

  it("charges an attempt that was open what it reserved", function()
    local at, slot = open()
    C.estate_settle(budget, journal)
    assert.equal(C.SLOT_CLOSED, C.journal_state(journal, at))
    assert.equal("worker_died", ffi.string(slot.code))
    assert.same({ spent = COST, reserved = 0 }, purses())
  end)

  it("charges nothing for one that was not reserved, whatever stands before it", function()
    open()
    local at, slot = take()
    slot.op = C.budget_next(budget, seat) -- and killed
    C.estate_settle(budget, journal)
    assert.equal(C.SLOT_FREE, C.journal_state(journal, at))
    assert.same({ spent = COST, reserved = 0 }, purses())
  end)

  it("settles one that was about to be, whatever stands before it", function()
    open()
    local at, slot = open()
    slot.cost, slot.status = 2, 200
    slot.op = C.budget_next(budget, seat)
    C.journal_set(journal, at, C.SLOT_SETTLING) -- and killed
    C.estate_settle(budget, journal)
    assert.equal(2, tonumber(slot.cost))
    assert.same({ spent = COST + 2, reserved = 0 }, purses())
  end)

  it("takes back what was reserved before its slot could say so", function()
    local at, slot = take()
    assert.is_true(C.budget_reserve(budget, seat, slot, 0, no)) -- and killed
    C.estate_settle(budget, journal)
    assert.equal(C.SLOT_CLOSED, C.journal_state(journal, at))
    assert.equal(0, purses().reserved)
  end)

  --- Runs work in a child that is killed after so many microseconds.
  local function kill_after(us, work)
    local status = ffi.new("int[1]")
    local pid = ffi.C.fork()
    if pid == 0 then
      pcall(work)
      libc.C.kill(ffi.C.getpid(), libc.SIGKILL)
    end
    ffi.C.usleep(us)
    libc.C.kill(pid, libc.SIGKILL)
    ffi.C.waitpid(pid, status, 0)
  end

  local function count_of(state)
    local count = 0
    for at = 0, C.JOURNAL_SLOTS - 1 do
      if C.journal_state(journal, at) == state then count = count + 1 end
    end
    return count
  end

  it("counts once what clerks settle that are killed at it", function()
    for _ = 1, SLOTS do
      local at, slot = take()
      assert.is_true(C.budget_reserve(budget, seat, slot, 0, no))
      if at % 3 > 0 then C.journal_set(journal, at, C.SLOT_OPEN) end
    end
    for i = 1, ROUNDS do
      kill_after(200 + (i * 7919) % 900, function() C.estate_settle(budget, journal) end)
    end
    C.estate_settle(budget, journal)
    assert.equal(SLOTS, count_of(C.SLOT_CLOSED))
    assert.same({ spent = SLOTS * COST, reserved = 0 }, purses())
  end)

  describe("of an earlier master's worker", function()
    local later -- the budgets of the master that came after

    before_each(function()
      later = C.budget_new(keys)
      C.budget_loaded(later)
    end)
    after_each(function() C.budget_free(later) end)

    it("is held while it is open, and counted when it is in the ledger", function()
      local at, slot = open()
      for _ = 1, 2 do C.estate_hold(later, journal) end
      assert.same({ spent = 0, reserved = COST }, purses(later))
      slot.cost = 2
      C.journal_set(journal, at, C.SLOT_CLOSED)
      for _ = 1, 2 do C.estate_count(later, journal, at) end
      assert.same({ spent = 2, reserved = 0 }, purses(later))
    end)

    it("is not added to sums that are loaded from the ledger afterwards", function()
      local fresh = C.budget_new(keys)
      local at = open()
      C.journal_set(journal, at, C.SLOT_CLOSED)
      C.estate_count(fresh, journal, at)
      assert.same({ spent = 0, reserved = 0 }, purses(fresh))
      C.budget_free(fresh)
    end)

    it("is held for what it cost while it cannot be written", function()
      local at, slot = open()
      slot.cost = 2
      C.journal_set(journal, at, C.SLOT_CLOSED)
      for _ = 1, 2 do C.estate_owe(later, journal, at) end
      assert.same({ spent = 0, reserved = 2 }, purses(later))
      for _ = 1, 2 do C.estate_count(later, journal, at) end
      assert.same({ spent = 2, reserved = 0 }, purses(later))
    end)

    it("is not held for what an earlier clerk wrote", function()
      local at = open()
      local fresh = C.budget_new(keys)
      C.journal_set(journal, at, C.SLOT_CLOSED)
      C.estate_count(fresh, journal, at)
      C.estate_owe(fresh, journal, at)
      assert.same({ spent = 0, reserved = 0 }, purses(fresh))
      C.budget_free(fresh)
    end)

    --- What a clerk does with a journal whose closed slots are in the ledger.
    local function work()
      C.estate_mend(later, journal)
      C.estate_hold(later, journal)
      for at = 0, C.JOURNAL_SLOTS - 1 do
        if C.journal_state(journal, at) == C.SLOT_CLOSED then
          C.estate_count(later, journal, at)
          C.journal_set(journal, at, C.SLOT_FREE)
        elseif C.journal_state(journal, at) == C.SLOT_OPEN then
          C.journal_slot(journal, at).cost = 3
          C.journal_set(journal, at, C.SLOT_CLOSED)
        end
      end
    end

    it("is held and counted once, though clerks are killed between the two", function()
      for i = 1, ROUNDS do
        for _ = 1, SLOTS / 20 do open() end
        kill_after(50 + (i * 7919) % 500, work)
      end
      for _ = 1, 2 do work() end
      assert.equal(0, count_of(C.SLOT_CLOSED) + count_of(C.SLOT_OPEN))
      assert.same({ spent = ROUNDS * SLOTS / 20 * 3, reserved = 0 }, purses(later))
    end)
  end)
end)
