-- The ledger's disk is full, really: what is served goes on from journals, whose blocks were taken
-- beforehand, then keys with a budget wait; when there is room again, nothing is missing.

local disk = require("spec.support.disk")
local http = require("spec.support.http")
local ledger = require("spec.support.ledger")
local libc = require("spec.support.libc")
local world = require("spec.support.world")

local SLOTS = 16384 -- core/accounts/journal.h
local BATCH = 128   -- requests that a client sends ahead; SLOTS are a multiple

describe("on a full disk", function()
  local why_not = disk.why_not()
  local w, first, full, gateway

  local function start()
    gateway = w:gateway {
      more = ledger.CONFIG .. ("data = %q,"):format(full.path),
      models = [[
        default = waterfall { "first/first-model" },
        reply = function(req) return req:reply(200, "{}") end,]],
      under = full.under,
    }
  end

  before_each(function()
    if why_not then return end
    w, full = world.new(), disk.new("20m")
    first = w:upstream("first")
    start()
  end)
  after_each(function()
    if why_not then return end
    w:close()
    full:close()
  end)

  local function ask(headers, members)
    return gateway:request { body = ledger.request(members), headers = headers }
  end

  local function serve(headers) return ledger.serve(gateway, first, headers) end

  local function refusal(headers) return ledger.refusal(gateway, headers) end

  local function metric(name)
    return tonumber(gateway:ask_admin("/metrics"):match("\n" .. name .. " ([%d.]+)\n"))
  end

  --- Until it is that, or the deadline.
  local function wait_metric(name, wanted)
    local deadline = libc.deadline(60)
    local value
    repeat value = metric(name) until value == wanted or libc.now() > deadline
    assert.equal(wanted, value, name)
  end

  --- So many requests, each of which takes a slot alone: a connection of a batch at a time.
  local function reply(headers, count)
    local body = ledger.request { model = "reply" }
    local text = http.message("POST /v1/chat/completions HTTP/1.1", { "Host: gateway",
      "Authorization: " .. headers.authorization, "Content-Length: " .. #body }, body)
    local client = gateway:connect()
    for _ = 1, count / BATCH do
      client:send(text:rep(BATCH))
      local answers, served = ""
      repeat
        answers = answers .. assert(client:try_receive())
        served = select(2, answers:gsub("HTTP/1.1 200 ", ""))
      until served == BATCH
      gateway:log() -- so that no line is dropped
    end
  end

  local function lines(event)
    local _, count = gateway:log():gsub("event=" .. event .. "[^\n]*\n", "")
    return count
  end

  local function usage()
    local rows = {}
    for _, row in ipairs(ledger.ask(gateway, "usage", "--by", "key").usage) do
      rows[row.key] = row
    end
    return rows
  end

  --- Until the budget says so, which is after the answer; then nothing is held.
  local function wait_spent(name, micro)
    local deadline = libc.deadline(60)
    local ok, shown
    repeat ok, shown = pcall(ledger.ask, gateway, "keys", "show", name)
    until ok and shown.spent == micro and shown.in_flight == 0 or libc.now() > deadline
    assert.is_true(ok, shown)
    assert.same({ micro, 0, 0 }, { shown.spent, shown.reserved, shown.in_flight })
  end

  it("serves until the journal is full, and has all of that when there is room", function()
    if why_not then return pending(why_not) end
    local alice = ledger.key(gateway, "alice", "--budget", "1usd/month")
    local carol = ledger.key(gateway, "carol")
    assert.equal(200, serve(alice))
    assert.equal(200, serve(carol))
    wait_spent("alice", 20)
    full:fill()

    assert.equal(200, serve(alice))
    gateway:wait_log("event=ledger_unavailable", "full")
    wait_metric("weir_ledger_failing", 1)
    reply(carol, SLOTS)
    assert.same({ 503, "ledger_unavailable" }, { refusal(alice) })
    for _ = 1, 5 do refusal(alice) end
    assert.equal(200, serve(carol))
    wait_metric("weir_journal_used_ratio", 1)
    assert.is_true(metric("weir_ledger_refused_total") >= 6)
    assert.same({ 1, 1 }, { lines("ledger_unavailable"), lines("journal_unavailable") })
    assert.is_false(first:is_asked())

    full:free()
    gateway:wait_log("event=ledger_available")
    wait_metric("weir_ledger_waiting", 0)
    assert.equal(200, serve(alice))
    wait_spent("alice", 60)
    local rows = usage()
    assert.same({ 3, 3, 60 }, { rows.alice.requests, rows.alice.attempts, rows.alice.cost })
    local recorded = 1 + SLOTS + 1 - metric("weir_ledger_unrecorded_total")
    assert.equal(recorded, rows.carol.requests)
    assert.equal(0, metric("weir_ledger_failing"))
  end)

  it("loses nothing of a worker that dies, and the next waits for room", function()
    if why_not then return pending(why_not) end
    local alice = ledger.key(gateway, "alice", "--budget", "1usd/month")
    local carol = ledger.key(gateway, "carol")
    assert.equal(200, serve(alice))
    full:fill()
    assert.equal(200, serve(alice))
    gateway:wait_log("event=ledger_unavailable")
    local client = ask(alice)
    local connection = first:take()
    ledger.kill_workers(gateway)
    gateway:wait_log("event=worker_died")
    client:close()
    connection:close()
    assert.same({ 503, "ledger_unavailable" }, { refusal(alice) })
    gateway:wait_log("event=journal_unavailable", "No space left on device")
    assert.equal(200, serve(carol))

    full:free()
    gateway:wait_log("event=ledger_available")
    local deadline = libc.deadline(60)
    local status
    repeat
      status = ask(alice, { model = "reply" }):read_response().status
    until status == 200 or libc.now() > deadline
    assert.equal(200, status)
    wait_metric("weir_ledger_waiting", 0)
    local shown = ledger.ask(gateway, "keys", "show", "alice")
    local row = usage().alice
    assert.same({ 3, row.cost, 0, 0 }, { row.attempts, shown.spent, shown.reserved,
      shown.in_flight })
    assert.is_true(row.cost > 40)
  end)

  it("goes on though the clerk is killed, and the gateway started anew", function()
    if why_not then return pending(why_not) end
    local alice = ledger.key(gateway, "alice", "--budget", "1usd/month")
    local carol = ledger.key(gateway, "carol")
    assert.equal(200, serve(alice))
    assert.equal(20, usage().alice.cost) -- it is in the ledger
    full:fill()
    assert.equal(200, serve(alice))
    gateway:wait_log("event=ledger_unavailable")
    libc.C.kill(ledger.clerk(gateway), libc.SIGKILL)
    gateway:wait_log("event=clerk_died", "signal=9")
    assert.equal(200, serve(alice))
    wait_spent("alice", 60)
    assert.equal(1, lines("clerk_died"))

    gateway:stop()
    start()
    assert.equal(200, serve(carol))
    assert.same({ 503, "ledger_unavailable" }, { refusal(alice) })
    local shown = ledger.ask(gateway, "keys", "show", "alice")
    assert.same({ 20, 40 }, { shown.spent, shown.reserved })
    full:free()
    gateway:wait_log("event=ledger_available")
    wait_spent("alice", 60)
    assert.equal(60, usage().alice.cost)
  end)
end)
