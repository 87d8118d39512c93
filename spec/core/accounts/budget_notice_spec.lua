--- What is to be told of budgets: once a window, by whichever process comes to it.
local libc = require("spec.support.libc")
local native = require("spec.support.native")
local C, ffi = native.load { "slice", "sha256", "keys", "journal", "budget" }

local ROUNDS = tonumber(os.getenv("KILLS") or 60)

pcall(ffi.cdef, [[
  int fork(void);
  int getpid(void);
  int waitpid(int pid, int *status, int options);
  int usleep(unsigned usec);
]])

describe("budget notices", function()
  local keys, budget, seat
  local refusal, notice = ffi.new("struct budget_refusal"), ffi.new("struct budget_notice")

  local function put(number)
    assert.is_true(C.keys_put(keys, ffi.new("struct keys_account",
      { number = number, has_budget = true, budget = 100, warns_at = 50 })))
  end

  before_each(function()
    keys = C.keys_new()
    budget = C.budget_new(keys)
    seat = C.budget_sit(budget)
    put(1)
  end)
  after_each(function()
    C.budget_free(budget)
    C.keys_free(keys)
  end)

  local function spend(cost, at, number)
    local slot = ffi.new("struct journal_slot", { is_attempt = 1, cost = cost })
    slot.account, slot.op = number or 1, C.budget_next(budget, seat)
    C.budget_settle(budget, seat, slot, at or 0)
  end

  local function reserve(amount)
    local slot = ffi.new("struct journal_slot", { is_attempt = 1, reserved = amount })
    slot.account = 1
    return C.budget_reserve(budget, seat, slot, 0, refusal)
  end

  --- The events that nobody has said yet.
  local function heard()
    local list = {}
    while C.budget_hear_notice(budget, true, notice) do list[#list + 1] = tonumber(notice.event) end
    return list
  end

  it("come when the soft limit is passed, and once", function()
    spend(49)
    assert.same({}, heard())
    spend(1)
    spend(1)
    assert.same({ C.BUDGET_LOW }, heard())
    assert.same({ 50, 100 }, { tonumber(notice.spent), tonumber(notice.budget) })
  end)

  it("come with the first request that is refused, and once", function()
    spend(95)
    heard()
    assert.is_false(reserve(10))
    assert.is_false(reserve(10))
    assert.same({ C.BUDGET_GONE }, heard())
    assert.equal(95, tonumber(C.budget_look(budget, 1, 0).spent))
  end)

  it("do not come where no unspent budget would do", function()
    assert.is_false(reserve(101))
    assert.same({}, heard())
  end)

  it("come again in the next window, and when they are armed", function()
    C.budget_set(budget, 1, ffi.new("struct budget_purse", { starts_s = 0, renews_s = 100 }))
    spend(60, 99)
    spend(60, 100)
    assert.same({ C.BUDGET_LOW, C.BUDGET_LOW }, heard())
    C.budget_arm(budget, 1)
    spend(1, 101)
    assert.same({ C.BUDGET_LOW }, heard())
  end)

  it("do not come again of what was spent before the gateway began", function()
    C.budget_set(budget, 1, ffi.new("struct budget_purse", { spent = 70 }))
    spend(1)
    assert.same({}, heard())
  end)

  it("are one worker's to send, until it has, or is dead", function()
    spend(50)
    heard()
    local at = C.budget_take_notice(budget, 3, notice)
    assert.is_true(at >= 0)
    assert.equal(-1, C.budget_take_notice(budget, 4, notice))
    C.budget_return_notices(budget, 4)
    assert.equal(-1, C.budget_take_notice(budget, 4, notice))
    C.budget_return_notices(budget, 3)
    assert.equal(at, C.budget_take_notice(budget, 4, notice))
    C.budget_drop_notice(budget, at)
    assert.equal(-1, C.budget_take_notice(budget, 4, notice))
  end)

  it("are not kept where nobody is to be sent them", function()
    spend(50)
    assert.is_true(C.budget_hear_notice(budget, false, notice))
    assert.equal(-1, C.budget_take_notice(budget, 1, notice))
  end)

  it("that find no place are counted, and what they are about is spent all the same", function()
    for number = 1, C.BUDGET_NOTICES + 5 do
      put(number)
      spend(50, 0, number)
    end
    assert.equal(5, tonumber(C.budget_lost_notices(budget)))
    assert.equal(0, tonumber(C.budget_lost_notices(budget)))
    assert.equal(C.BUDGET_NOTICES, #heard())
    assert.equal(50, tonumber(C.budget_look(budget, C.BUDGET_NOTICES + 5, 0).spent))
  end)

  it("are as many as the keys that came to it, though those who spend are killed", function()
    local status, count = ffi.new("int[1]"), 400
    for number = 1, count do put(number) end
    for i = 1, ROUNDS do
      for number = 1, count do C.budget_arm(budget, number) end
      local pid = ffi.C.fork()
      if pid == 0 then
        pcall(function() for number = 1, count do spend(50, 0, number) end end)
        libc.C.kill(ffi.C.getpid(), libc.SIGKILL)
      end
      ffi.C.usleep(20 + (i * 7919) % 600)
      libc.C.kill(pid, libc.SIGKILL)
      ffi.C.waitpid(pid, status, 0)
      local told = 0
      for number = 1, count do
        if C.budget_look(budget, number, 0).told ~= 0 then told = told + 1 end
      end
      local list = {}
      while C.budget_hear_notice(budget, false, notice) do list[#list + 1] = notice.number end
      assert.equal(told, #list)
    end
  end)
end)
