--- Budgets, and what becomes of them when whoever changes them is killed.
local libc = require("spec.support.libc")
local native = require("spec.support.native")
local C, ffi = native.load { "slice", "sha256", "keys", "journal", "budget" }

local KILLS = tonumber(os.getenv("KILLS") or 200)

ffi.cdef [[
  int fork(void);
  int getpid(void);
  int waitpid(int pid, int *status, int options);
  int usleep(unsigned usec);
]]

describe("budget", function()
  local keys, budget, seat, refusal

  local function put(number, members)
    local account = ffi.new("struct keys_account", members)
    account.number = number
    assert.is_true(C.keys_put(keys, account))
  end

  --- A slot of key 1, whose team is 2.
  local function slot(members)
    local made = ffi.new("struct journal_slot", members or {})
    made.account, made.team = 1, 2
    return made
  end

  --- A request of the same, unrecorded, beside so many.
  local function loose(of_key, of_team)
    return ffi.new("struct budget_loose", { 1, 2, { of_key, of_team } })
  end

  local function reserve(amount, at)
    local made = slot { is_attempt = 1, reserved = amount }
    return C.budget_reserve(budget, seat, made, at or 0, refusal) and made or nil
  end

  local function settle(made, cost, at)
    made.cost = cost
    made.op = C.budget_next(budget, seat)
    C.budget_settle(budget, seat, made, at or 0)
  end

  local function purse(number, at) return C.budget_look(budget, number, at or 0) end

  before_each(function()
    keys = C.keys_new()
    budget, refusal = C.budget_new(keys), ffi.new("struct budget_refusal")
    seat = C.budget_sit(budget)
    put(1, { team = 2, has_budget = true, budget = 100 })
    put(2, { has_budget = true, budget = 150 })
  end)
  after_each(function()
    C.budget_free(budget)
    C.keys_free(keys)
  end)

  it("reserves for the key and its team, and settles both", function()
    local made = reserve(60)
    for number = 1, 2 do assert.equal(60, tonumber(purse(number).reserved)) end
    settle(made, 25)
    for number = 1, 2 do
      assert.equal(0, tonumber(purse(number).reserved))
      assert.equal(25, tonumber(purse(number).spent))
    end
  end)

  it("reserves nothing of either where one of them has too little", function()
    put(2, { has_budget = true, budget = 50 })
    assert.is_nil(reserve(60))
    assert.equal(2, refusal.number)
    assert.equal(0, tonumber(purse(1).reserved))
    assert.is_truthy(reserve(50))
    assert.is_nil(reserve(1))
  end)

  it("gives back what was reserved and not spent", function()
    settle(reserve(100), 0)
    assert.is_truthy(reserve(100))
    assert.is_nil(reserve(1))
    assert.equal(100, tonumber(refusal.spent))
  end)

  it("begins anew with each window, of which two are known ahead", function()
    local window = ffi.new("struct budget_purse", { spent = 90, starts_s = 0, renews_s = 100,
      next_s = 250 })
    assert.is_true(C.budget_set(budget, 1, window))
    assert.is_nil(reserve(20, 99))
    assert.equal(1000000, tonumber(refusal.wait_us))
    local made = reserve(20, 100)
    settle(made, 20, 249)
    assert.equal(20, tonumber(purse(1, 249).spent))
    assert.equal(0, tonumber(purse(1, 250).spent))
  end)

  it("has left no window out that nobody spent in", function()
    assert.is_true(C.budget_set(budget, 1, ffi.new("struct budget_purse", { spent = 90,
      starts_s = 0, renews_s = 100, next_s = 250 })))
    settle(reserve(20, 420), 20, 420) -- in the one from 400 to 550
    assert.same({ 20, 550 }, { tonumber(purse(1, 549).spent), tonumber(purse(1, 549).renews_s) })
    settle(reserve(30, 430), 30, 430)
    assert.equal(50, tonumber(purse(1, 431).spent))
  end)

  it("leaves what ended before a window began to the one before, as the ledger does", function()
    assert.is_true(C.budget_set(budget, 1, ffi.new("struct budget_purse", { spent = 90,
      starts_s = 0, renews_s = 100, next_s = 250 })))
    local made = reserve(10, 99)
    settle(reserve(5, 100), 5, 100)
    settle(made, 10, 99)
    assert.same({ 5, 0, 15 }, { tonumber(purse(1, 101).spent), tonumber(purse(1, 101).reserved),
      tonumber(purse(1, 101).total) })
  end)

  it("says when another window runs than the one that is to be renewed", function()
    local window = ffi.new("struct budget_purse", { starts_s = 0, renews_s = 100, next_s = 250 })
    assert.is_true(C.budget_set(budget, 1, window))
    assert.is_true(C.budget_renew(budget, 1, window, 99))
    assert.is_false(C.budget_renew(budget, 1, window, 100))
  end)

  it("grants nothing of which the limits are not known, and settles it all the same", function()
    local made = ffi.new("struct journal_slot", { is_attempt = 1, reserved = 5 })
    made.account, made.team = 1, 3 -- nobody said what 3 may
    assert.is_false(C.budget_reserve(budget, seat, made, 0, refusal))
    assert.equal(C.BUDGET_UNKNOWN, refusal.word)
    assert.is_false(C.budget_enter(budget, seat, made, 0, 0, 0, refusal))
    assert.equal(0, tonumber(purse(1).reserved))
    made.reserved = 0
    settle(made, 4)
    assert.equal(4, tonumber(purse(3).spent))
  end)

  it("takes no sum that is older than what was spent since", function()
    local old = purse(1)
    settle(reserve(10), 10)
    old.spent = 5
    assert.is_false(C.budget_set(budget, 1, old))
    assert.equal(10, tonumber(purse(1).spent))
  end)

  local function enter(tokens, at)
    local made = slot()
    return C.budget_enter(budget, seat, made, tokens, at, 0, refusal) and made or nil
  end

  it("lets in so many at once, and another when one has left", function()
    put(1, { team = 2, concurrent = 2 })
    local first = enter(0, 0)
    assert.is_truthy(enter(0, 0))
    assert.is_nil(enter(0, 0))
    assert.equal(C.BUDGET_CONCURRENT, refusal.word)
    first.op = C.budget_next(budget, seat)
    C.budget_leave(budget, seat, first, 0, 0)
    assert.is_truthy(enter(0, 0))
  end)

  it("holds to its rates what goes unrecorded", function()
    put(2, { rpm = 2 })
    assert.is_truthy(enter(0, 0))
    assert.is_true(C.budget_check(budget, loose(0, 0), 0, 0, 0, refusal))
    assert.is_false(C.budget_check(budget, loose(0, 0), 0, 0, 0, refusal))
    assert.equal(C.BUDGET_RPM, refusal.word)
    assert.is_nil(enter(0, 0))
    assert.equal(1, tonumber(purse(2).inflight))
  end)

  it("counts what goes unrecorded among those at once, as far as it is told", function()
    put(1, { concurrent = 3 })
    put(2, { concurrent = 4 })
    assert.is_truthy(enter(0, 0))
    assert.is_true(C.budget_check(budget, loose(1, 2), 0, 0, 0, refusal))
    assert.is_false(C.budget_check(budget, loose(2, 2), 0, 0, 0, refusal))
    assert.same({ C.BUDGET_CONCURRENT, 1 }, { refusal.word, refusal.number })
    assert.is_false(C.budget_check(budget, loose(1, 3), 0, 0, 0, refusal))
    assert.same({ C.BUDGET_CONCURRENT, 2 }, { refusal.word, refusal.number })
    assert.equal(1, tonumber(purse(1).inflight))
  end)

  it("counts requests of a minute for the team as well", function()
    put(2, { rpm = 2 })
    assert.is_truthy(enter(0, 0))
    assert.is_truthy(enter(0, 0))
    assert.is_nil(enter(0, 30 * 1000000))
    assert.equal(C.BUDGET_RPM, refusal.word)
    assert.equal(2, refusal.number)
    assert.is_truthy(enter(0, 62 * 1000000))
  end)

  it("holds tokens that may be used, and counts those that were", function()
    put(1, { tpm = 100 })
    local first = enter(90, 0)
    assert.is_nil(enter(20, 0))
    assert.equal(C.BUDGET_TPM, refusal.word)
    first.op = C.budget_next(budget, seat)
    C.budget_leave(budget, seat, first, 30, 0)
    assert.is_truthy(enter(20, 0))
  end)

  it("says nobody is left in its seat until it stands up", function()
    for _ = 2, C.BUDGET_SEATS do assert.is_true(C.budget_sit(budget) >= 0) end
    assert.equal(-1, C.budget_sit(budget))
    C.budget_stand(budget, seat)
    assert.equal(seat, C.budget_sit(budget))
  end)

  --- Spends without an end; what it is doing stands in a slot that outlives it.
  local function work(of, own)
    local no = ffi.new("struct budget_refusal")
    while true do
      own.account, own.team, own.is_attempt, own.reserved, own.cost = 1, 2, 1, 7, 3
      own.op, own.status = 0, 1
      if C.budget_reserve(budget, of, own, 0, no) then
        own.status = 2
        own.op = C.budget_next(budget, of)
        own.status = 3
        C.budget_settle(budget, of, own, 0)
        own.number = own.number + 1 -- settled, so often
      end
      own.status = 0
    end
  end

  it("has no change by half, however often its changers are killed", function()
    put(1, { team = 2, has_budget = true, budget = 1000000000 })
    put(2, {})
    local status, spent = ffi.new("int[1]"), 0
    local memory = C.keys_new() -- any that a child shares
    local own = ffi.cast("struct journal_slot *", memory)
    for i = 1, KILLS do
      ffi.fill(own, 512)
      local of = C.budget_sit(budget)
      local pid = ffi.C.fork()
      if pid == 0 then
        pcall(work, of, own)
        libc.C.kill(ffi.C.getpid(), libc.SIGKILL)
      end
      ffi.C.usleep(300 + (i * 7919) % 2000)
      libc.C.kill(pid, libc.SIGKILL)
      ffi.C.waitpid(pid, status, 0)

      spent = spent + 3 * own.number
      local before = tonumber(purse(1).total)
      local is_counted = before == spent + 3 -- settled, and killed before it could say so
      if is_counted then spent = spent + 3 end
      assert.equal(spent, before)
      assert.equal(before, tonumber(purse(2).total))
      assert.equal(tonumber(purse(1).reserved), tonumber(purse(2).reserved))
      if own.status == 3 then
        assert.equal(C.budget_applied(budget, of, own.op), is_counted
          or tonumber(purse(1).reserved) == 0)
      end
      local held = tonumber(purse(1).reserved)
      assert.is_true(held == 0 or held == 7)
      if held == 7 then
        assert.is_true(own.status == 1 or own.status == 2 or own.status == 3)
        assert.is_true(own.status == 3 or own.status == 2
          or C.budget_applied(budget, of, own.op))
        own.op, own.cost = C.budget_next(budget, of), 0
        C.budget_settle(budget, of, own, 0)
      end
      C.budget_stand(budget, of)
    end
    C.keys_free(memory)
    assert.equal(0, tonumber(purse(1).reserved))
    assert.is_true(spent > 0)
  end)
end)
