--- Workers that are killed at any instant, while they do nothing but change what all share.
local libc = require("spec.support.libc")
local native = require("spec.support.native")
local C, ffi = native.load { "slice", "quota", "lane", "need", "limit", "grant" }

local KILLS = tonumber(os.getenv("KILLS") or 200)
local WORKERS = 3
local SECOND = 1000000

ffi.cdef [[
  int fork(void);
  int getpid(void);
  int waitpid(int pid, int *status, int options);
  int usleep(unsigned usec);
]]

local function slice(text)
  return ffi.new("struct slice", { text, #text })
end

--- Attempts without an end, by three keys, on models that are always the same.
local function work(limits, number, targets)
  local grant, wait = ffi.new("struct grant"), ffi.new("struct limits_wait")
  local words = ffi.new("struct quota_word[1]", { { dimension = C.QUOTA_RPM, limit = 1000000,
    left = 900000, wait_us = SECOND } })
  local failure = ffi.new("struct grant_failure", { scope = C.GRANT_OF_KEY_AND_MODEL,
    reason = "rate_limited", wait_us = 1, is_said = true })
  C.limits_enter(limits, number)
  local i = 0
  while true do
    i = i + 1
    local now = i * 100
    if C.grant_take(limits, targets[i % 5], 10, true, now, grant, wait) then
      C.grant_hear(limits, grant, words, 1, now)
      if i % 7 == 0 then C.grant_fail(limits, grant, failure, now)
      else C.grant_succeed(limits, grant, 1000, now) end
      C.grant_end(limits, grant, 12, true, now)
    end
  end
end

describe("kill -9 of workers that change limits", function()
  it("leaves no lock held, no counter up and no cooldown lost, however often", function()
    local limits, pids = C.limits_new(), {}
    local rules = ffi.new("struct limits_rules")
    rules.windows[C.WINDOW_RPM], rules.concurrent = 2000000000, 1000
    local names, targets = {}, {}
    for i = 0, 4 do
      names[i] = "model" .. i
      targets[i] = C.limits_target(slice("groq"), slice(names[i]), 3, rules)
    end
    local far = C.limits_target(slice("groq"), slice("cooling"), 3, rules)
    C.limits_cool(limits, far, 86400 * SECOND, "told", 0)

    local function start(number)
      local pid = ffi.C.fork()
      if pid == 0 then
        pcall(work, limits, number, targets)
        libc.C.kill(ffi.C.getpid(), libc.SIGKILL)
      end
      pids[number] = pid
    end

    for number = 1, WORKERS do start(number) end
    local status = ffi.new("int[1]")
    for i = 1, KILLS do
      local number = i % WORKERS + 1
      ffi.C.usleep(500 + (i * 7919) % 3000)
      libc.C.kill(pids[number], libc.SIGKILL)
      ffi.C.waitpid(pids[number], status, 0)
      C.limits_forget(limits, number)
      start(number)
    end
    for number = 1, WORKERS do
      libc.C.kill(pids[number], libc.SIGKILL)
      ffi.C.waitpid(pids[number], status, 0)
      C.limits_forget(limits, number)
    end

    local wait, grant = ffi.new("struct limits_wait"), ffi.new("struct grant")
    for i = 0, 4 do
      assert.equal(0, C.limits_inflight(limits, targets[i]))
      for key = 1, 3 do
        for _, kind in ipairs { C.LIMITS_KEY, C.LIMITS_BOTH } do
          local lane = C.limits_find(limits, targets[i], kind, key)
          if lane ~= nil then
            assert.same({ 0, 0, 0, 0 }, { lane.inflight, lane.unheard, lane.prober,
              tonumber(lane.unheard_tokens) })
          end
        end
      end
      assert.is_true(C.grant_take(limits, targets[i], 1, true, SECOND, grant, wait))
      C.grant_end(limits, grant, 1, true, SECOND)
    end
    assert.is_false(C.limits_check(limits, far, 1, 0, wait))
    assert.equal("told", ffi.string(wait.reason))
    C.limits_free(limits)
  end)
end)
