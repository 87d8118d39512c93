-- Workers, the ledger's process and the master killed under load: no row of a request that reached
-- the provider is lost, and the sum of the rows is what budgets say.

local ledger = require("spec.support.ledger")
local libc = require("spec.support.libc")
local world = require("spec.support.world")

local ROUNDS = tonumber(os.getenv("LEDGER_KILLS") or 9)
local PARALLEL = 1000

describe("the ledger under load", function()
  local w, gateway, headers, data

  local MORE = ledger.CONFIG:gsub("workers = 1", "workers = 2")
    .. [[ ledger = { answer_tokens = 100 },]]

  before_each(function() w = world.new() end)
  after_each(function() w:close() end)

  --- A client that asks and does not wait.
  local function ask()
    local ok, client = pcall(gateway.request, gateway, { body = ledger.request(),
      headers = headers })
    return ok and client or nil
  end

  local function sums()
    local shown = ledger.ask(gateway, "keys", "show", "alice")
    local cost = 0
    for _, row in ipairs(ledger.ask(gateway, "usage", "--by", "key").usage) do
      if row.key == "alice" then cost = cost + row.cost end
    end
    return shown, cost
  end

  --- Until nothing is reserved, or the deadline.
  local function settled()
    local deadline, shown, cost = os.time() + 20, nil, nil
    repeat
      local ok, one, other = pcall(sums)
      if ok then shown, cost = one, other end
    until ok and shown.reserved == 0 and shown.in_flight == 0 or os.time() > deadline
    return shown, cost
  end

  it("lets a thousand at once overrun no budget", function()
    w:mock("first", "--latency", "300")
    gateway = w:gateway { more = MORE }
    headers = ledger.key(gateway, "alice", "--budget", "0.01usd/month")
    local clients, served, refused = {}, 0, 0
    for i = 1, PARALLEL do clients[i] = ask() end
    for _, client in ipairs(clients) do
      local status = client:read_response().status
      served = served + (status == 200 and 1 or 0)
      refused = refused + (status == 429 and 1 or 0)
    end
    assert.equal(PARALLEL, served + refused)
    assert.is_true(served > 0 and refused > 0)
    local shown, cost = settled()
    assert.is_true(shown.spent <= 10000)
    assert.same({ 0, 0, shown.spent }, { shown.reserved, shown.in_flight, cost })
  end)

  local function kill_worker()
    local clerk = ledger.clerk(gateway)
    for _, pid in ipairs(gateway:workers()) do
      if pid ~= clerk then
        libc.C.kill(pid, libc.SIGKILL)
        return
      end
    end
  end

  local function kill_master()
    gateway.process:kill()
    gateway = w:gateway { more = MORE .. ("data = %q,"):format(data) }
  end

  local deeds = {
    kill_worker,
    function()
      local clerk = ledger.clerk(gateway)
      if clerk then libc.C.kill(clerk, libc.SIGKILL) end
    end,
    kill_master,
  }

  it("has a row of all that reached the provider, whoever is killed", function()
    local first = w:upstream("first")
    gateway = w:gateway { more = MORE }
    data = gateway.folder .. "/data"
    headers = ledger.key(gateway, "alice", "--budget", "100usd/month")
    local reached = {}
    for round = 1, ROUNDS do
      local clients = {}
      for i = 1, 6 do clients[i] = ask() end
      for i = 1, #clients do
        local connection = first:take()
        if i % 2 == 0 then
          connection:respond(200, ledger.answer(10, 5), { Connection = "close" })
        end
        reached[#reached + 1] = true
      end
      deeds[round % 3 + 1]()
      for _, client in ipairs(clients) do client:close() end
      settled()
    end
    local shown, cost = settled()
    local attempts = 0
    for _, row in ipairs(ledger.ask(gateway, "usage", "--by", "key").usage) do
      attempts = attempts + row.attempts
    end
    assert.equal(#reached, attempts)
    assert.same({ 0, 0, shown.spent }, { shown.reserved, shown.in_flight, cost })
    local rows, page = { cost = 0, attempts = 0 }, {}
    repeat
      page = page.next and ledger.ask(gateway, "requests", "--limit", "1000", "--before", page.next)
        or ledger.ask(gateway, "requests", "--limit", "1000")
      for _, row in ipairs(page.requests) do
        rows.cost, rows.attempts = rows.cost + row.cost, rows.attempts + row.attempts
      end
    until not page.next
    assert.same({ cost = cost, attempts = attempts }, rows)
  end)
end)
