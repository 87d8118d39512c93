-- The clerk, asked by callers that do not read what they asked for.

local cjson = require("cjson")
local described = require("spec.support.described")
local ledger = require("spec.support.ledger")
local libc = require("spec.support.libc")
local process = require("spec.support.process")
local socket = require("spec.support.socket")
local world = require("spec.support.world")

--- A thousand rows of a kilobyte: more than socket and pipe hold.
local ROWS = [[WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
  INSERT INTO requests SELECT 'req_' || i, (strftime('%%s', 'now') - i) * 1000000, %d, 0,
  printf('%%.1000c', 'm'), 'chat', 200, '', 'first/m', 1, 1, 1, 1, 1, 0, 0, 1, 0, 1 FROM n]]

describe("the clerk", function()
  local w, first, gateway

  before_each(function()
    w = world.new()
    first = w:upstream("first")
    gateway = w:gateway { env = { TOKEN = described.TOKEN }, more = ledger.CONFIG
      .. 'admin = { listen = { "unix:data/admin.sock", "127.0.0.1:0" }, token = weir.env "TOKEN" },'
    }
    local alice = ledger.ask(gateway, "keys", "add", "--name", "alice")
    ledger.write(gateway, ROWS:format(alice.id))
  end)
  after_each(function() w:close() end)

  --- A caller that reads the beginning of a large answer, and no more until it is waited for.
  local function begin()
    local caller = process.start { "curl", "-sN", "--unix-socket",
      gateway.folder .. "/data/admin.sock", "http://weir/requests?limit=1000&key=alice" }
    w.processes[#w.processes + 1] = caller
    caller:wait_for("out", function(text) return #text > 0 end, "an answer to begin")
    return caller
  end

  local function begin_all(count)
    local callers = {}
    for i = 1, count do callers[i] = begin() end
    return callers
  end

  --- Whether the caller got all of it.
  local function ends_well(caller)
    assert.equal(0, caller:wait())
    local ok, answer = pcall(cjson.decode, caller.text.out)
    return ok and #(answer.requests or {}) == 1000, answer
  end

  local function serve(headers)
    local client = gateway:request { body = ledger.request(), headers = headers }
    first:answer(200, ledger.answer(10, 5), { Connection = "close" })
    local response = client:read_response()
    assert.equal(200, response.status)
    return response.headers["x-request-id"]
  end

  it("adds keys and rows while callers do not read, and none of these loses a byte", function()
    local callers = begin_all(8)
    serve(ledger.key(gateway, "bob"))
    assert.equal(1, #ledger.ask(gateway, "requests", "--key", "bob").requests)
    for _, caller in ipairs(callers) do assert.is_true((ends_well(caller))) end
  end)

  it("says so to who asks for much while too many do not read, until these leave", function()
    local callers = begin_all(34)
    assert.equal(200, gateway:request { path = "/v1/models", method = "GET",
      headers = ledger.key(gateway, "bob") }:read_response().status)
    for i = 33, 34 do
      local is_whole, answer = ends_well(callers[i])
      assert.is_false(is_whole)
      assert.matches("too many large answers wait", answer.error, 1, true)
    end
    assert.is_true((ends_well(callers[1])))
    for i = 2, 32 do callers[i]:kill() end
    ledger.ask(gateway, "keys", "show", "bob") -- by now the clerk has heard that they left
    for _, caller in ipairs(begin_all(5)) do assert.is_true((ends_well(caller))) end
  end)

  --- Lets a process that is stopped run for a moment.
  local function step(pid)
    libc.C.kill(pid, libc.SIGCONT)
    libc.C.kill(pid, libc.SIGSTOP)
    repeat
      local file = io.open(("/proc/%d/stat"):format(pid))
      local state = file:read("*a"):match("%) (%u)")
      file:close()
    until state == "T"
  end

  --- Steps through it until the one or the other is there; nil: both came in one step.
  local function comes_first(pid, caller, id)
    while true do
      step(pid)
      local is_answered = libc.wait(caller.fd, libc.POLLIN, 0)
      local is_written = ledger.count(gateway, ("requests WHERE id = '%s'"):format(id)) == 1
      if is_answered and is_written then return nil end
      if is_answered or is_written then return is_written and "row" or "answer" end
    end
  end

  it("writes rows while it makes an answer", function()
    ledger.write(gateway, [[WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n
      WHERE i < 1000) INSERT INTO accounts(kind, name, created) SELECT 'key', 'user-' || i, 1
      FROM n]])
    local bob = ledger.key(gateway, "bob")
    local pid, port, found = ledger.clerk(gateway), described.port(gateway), nil
    serve(bob)
    ledger.ask(gateway, "requests") -- for which it looks where the worker's journal is
    while not found do
      libc.C.kill(pid, libc.SIGSTOP)
      local caller = socket.connect(port)
      caller:send(("GET /keys?limit=1000 HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer %s"
        .. "\r\n\r\n"):format(described.TOKEN))
      gateway:ask_admin("/health") -- by now the question waits for the clerk
      local id = serve(bob)
      gateway:request { path = "/v1/models", method = "GET", headers = bob }:read_response()
      found = comes_first(pid, caller, id)
      libc.C.kill(pid, libc.SIGCONT)
      caller:close()
    end
    assert.equal("row", found)
  end)
end)
