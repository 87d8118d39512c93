-- Who has no key: told so by the head alone, cheaply, and in nobody else's way.

local ledger = require("spec.support.ledger")
local libc = require("spec.support.libc")
local world = require("spec.support.world")

describe("a request with a wrong key", function()
  local w, first, gateway, alice

  before_each(function()
    w = world.new()
    first = w:upstream("first")
    gateway = w:gateway { more = ledger.CONFIG }
    alice = ledger.key(gateway, "alice").authorization
  end)
  after_each(function() w:close() end)

  local BODY = ledger.request()

  --- A request's text, to be sent in pieces.
  local function head(key, more)
    return ("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
      .. "Authorization: %s\r\n%s\r\n"):format(key, more or "Content-Length: " .. #BODY .. "\r\n")
  end

  local WRONG = "Bearer wk-wrong"

  --- Whose request comes next on the connection is served.
  local function serves(client, key)
    client:send(head(key) .. BODY)
    first:answer(200, ledger.answer(1, 1), { Connection = "close" })
    return client:read_response().status == 200
  end

  it("is counted, whether its body came or not", function()
    local client = gateway:connect()
    client:send(head(WRONG) .. BODY)
    client:read_response()
    client:send("GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n")
    client:read_response()
    assert.is_true(serves(client, alice))
    assert.matches("\nweir_unauthorized_total 2\n", gateway:ask_admin("/metrics"), 1, true)
  end)

  it("hears 401 before its body is sent, when that is long", function()
    local client = gateway:connect()
    client:send(head(WRONG, "Content-Length: 10000000\r\n"))
    local response = client:read_response()
    assert.equal(401, response.status)
    assert.equal("close", response.headers.connection)
    assert.equal("", client:read_all())
  end)

  it("hears 401 instead of 100", function()
    local client = gateway:connect()
    client:send(head(WRONG, "Expect: 100-continue\r\nContent-Length: 10\r\n"))
    local response = client:read_response()
    assert.equal(401, response.status)
    assert.equal("close", response.headers.connection)
  end)

  it("keeps its connection, whole or in pieces", function()
    local client = gateway:connect()
    client:send(head(WRONG) .. BODY)
    assert.equal(401, client:read_response().status)
    client:send(head(WRONG))
    client:send(BODY:sub(1, 5))
    client:send(BODY:sub(6))
    assert.equal(401, client:read_response().status)
    for at = 1, #head(WRONG), 20 do client:send(head(WRONG):sub(at, at + 19)) end
    client:send(BODY)
    assert.equal(401, client:read_response().status)
    client:send(head(WRONG, "Transfer-Encoding: chunked\r\n") .. "5\r\nhello\r\n0\r\n\r\n")
    assert.equal(401, client:read_response().status)
    assert.is_true(serves(client, alice))
  end)

  it("loses it with a body that never ends", function()
    local client = gateway:connect()
    client:send(head(WRONG, "Transfer-Encoding: chunked\r\n"))
    for _ = 1, 20 do client:send("1000\r\n" .. ("x"):rep(4096) .. "\r\n") end
    assert.equal("close", client:read_response().headers.connection)
  end)

  it("has its connection closed where it asks for that", function()
    for _, more in ipairs { "Connection: close\r\n", "connection:  Close\r\n" } do
      local client = gateway:connect()
      client:send(head(WRONG, more .. "Content-Length: 2\r\n") .. "{}")
      assert.equal("close", client:read_response().headers.connection)
      assert.equal("", client:read_all())
    end
    local client = gateway:connect()
    client:send((head(WRONG):gsub("HTTP/1.1", "HTTP/1.0")) .. BODY)
    assert.equal("close", client:read_response().headers.connection)
    client = gateway:connect()
    client:send(head(WRONG, "Connection: keep-alive\r\nContent-Length: 2\r\n") .. "{}")
    assert.is_nil(client:read_response().headers.connection)
  end)

  it("is nobody else's beside others on one connection", function()
    local bob = ledger.key(gateway, "bob").authorization
    local client = gateway:connect()
    client:send(head(alice) .. BODY:sub(1, 5))
    client:send(BODY:sub(6) .. head(bob) .. BODY .. head(WRONG) .. BODY .. head(alice) .. BODY)
    for _, status in ipairs { 200, 200, 401, 200 } do
      if status == 200 then first:answer(200, ledger.answer(1, 1), { Connection = "close" }) end
      assert.equal(status, client:read_response().status)
    end
    local seen = {}
    for _, row in ipairs(ledger.ask(gateway, "requests").requests) do seen[#seen + 1] = row.key end
    assert.same({ "alice", "bob", "alice" }, seen)
  end)

  it("is only looked for where a key is wanted", function()
    for path, status in pairs { ["/healthz"] = 200, ["/nowhere"] = 404, ["/v1/models"] = 401,
      ["/v1/chat/completions"] = 405, ["/openai/v1/models?x=1"] = 401 } do
      local client = gateway:request { path = path, headers = { authorization = WRONG } }
      assert.equal(status, client:read_response().status, path)
    end
  end)

  it("loses nothing by that its key is taken away while its body comes", function()
    local client = gateway:connect()
    client:send(head(alice) .. BODY:sub(1, 5))
    assert.equal(200, gateway:request { path = "/healthz" }:read_response().status)
    ledger.ask(gateway, "keys", "revoke", "alice")
    client:send(BODY:sub(6))
    assert.equal(401, client:read_response().status)
  end)

  --- All that the log was told of.
  local function counted(log)
    local sum = 0
    for count in log:gmatch("event=turned_away status=401 count=(%d+)") do
      sum = sum + tonumber(count)
    end
    return sum
  end

  it("waits its turn among hundreds, and the log has lines by the second", function()
    local clients, began = {}, libc.now()
    for i = 1, 400 do
      clients[i] = gateway:connect()
      clients[i]:send(head(WRONG) .. BODY)
    end
    assert.is_true(serves(gateway:connect(), alice))
    for i = 1, 400 do assert.equal(401, clients[i]:read_response().status) end
    local log = gateway:stop()
    assert.equal(400, counted(log))
    assert.is_true(select(2, log:gsub("event=turned_away", "")) <= libc.now() - began + 2)
  end)

  it("is cut rather than kept among a thousand that wait, and counted", function()
    local clients, seen = {}, { said = 0, cut = 0 }
    for i = 1, 1500 do
      clients[i] = gateway:connect()
      clients[i]:send(head(WRONG) .. BODY)
    end
    assert.is_true(serves(gateway:connect(), alice))
    for i = 1, 1500 do
      local ok, text = pcall(clients[i].read_head, clients[i])
      local is_said = ok and text and text.status == 401
      seen[is_said and "said" or "cut"] = seen[is_said and "said" or "cut"] + 1
    end
    assert.is_true(seen.said >= 1024, seen.said)
    assert.equal(1500, counted(gateway:stop()))
  end)

  it("may leave while it waits", function()
    local clients = {}
    for i = 1, 300 do
      clients[i] = gateway:connect()
      clients[i]:send(head(WRONG) .. BODY)
    end
    for _, client in ipairs(clients) do client:close() end
    assert.is_true(serves(gateway:connect(), alice))
    gateway:stop()
  end)
end)
