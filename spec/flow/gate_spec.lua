-- The running gateway against bytes that are no sound HTTP/1.1, and against floods: each gets
-- a clear error in OpenAI's shape and costs no other request anything.

local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local process = require("spec.support.process")
local world = require("spec.support.world")

local sound = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
local hidden = "GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n"
local post = "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n"

local MIB = 1024 * 1024

--- Sends this over and over: the gateway goes before it has taken the most.
local function assert_cut_off(client, bytes, most)
  local sent = 0
  while sent < most and not client:is_closed() do
    local count = client:try_send(bytes)
    if not count then break end -- it was cut off
    if count == 0 then
      assert(libc.wait(client.fd, libc.POLLIN + libc.POLLOUT, libc.deadline()))
    end
    sent = sent + count
  end
  assert.is_true(sent < most)
end

--- What is refused, by status; a second request hides behind each.
local unsound = {
  ["both Content-Length and Transfer-Encoding"] = { 400,
    post .. "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
  ["Transfer-Encoding before Content-Length"] = { 400,
    post .. "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" },
  ["two Content-Lengths"] = { 400, post .. "Content-Length: 0\r\nContent-Length: 44\r\n\r\n" },
  ["a signed Content-Length"] = { 400, post .. "Content-Length: +5\r\n\r\nhello" },
  ["a list as Content-Length"] = { 400, post .. "Content-Length: 5, 5\r\n\r\nhello" },
  ["a hexadecimal Content-Length"] = { 400, post .. "Content-Length: 0x5\r\n\r\nhello" },
  ["a negative Content-Length"] = { 400, post .. "Content-Length: -1\r\n\r\n" },
  ["an empty Content-Length"] = { 400, post .. "Content-Length: \r\n\r\n" },
  ["a space before a colon"] = { 400, post .. "Content-Length : 38\r\n\r\n" },
  ["a bare LF in the head"] = { 400, "GET /healthz HTTP/1.1\nHost: x\n\n" },
  ["a bare CR in a value"] = { 400, "GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\rc\r\n\r\n" },
  ["an obsolete fold"] = { 400, "GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n" },
  ["NUL in a value"] = { 400, "GET /healthz HTTP/1.1\r\nHost: x\r\nA: admin\0x\r\n\r\n" },
  ["NUL in a name"] = { 400, "GET /healthz HTTP/1.1\r\nHost: x\r\nA\0: b\r\n\r\n" },
  ["an empty header name"] = { 400, "GET /healthz HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n" },
  ["a header name with a space"] = { 400, "GET /healthz HTTP/1.1\r\nHost: x\r\nX A: b\r\n\r\n" },
  ["a header name with a parenthesis"] = { 400,
    "GET /healthz HTTP/1.1\r\nHost: x\r\nX(A): b\r\n\r\n" },
  ["a line without a colon"] = { 400, "GET /healthz HTTP/1.1\r\nHost: x\r\nnothing\r\n\r\n" },
  ["no Host"] = { 400, "GET /healthz HTTP/1.1\r\nA: b\r\n\r\n" },
  ["two Hosts"] = { 400, "GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" },
  ["a space in the target"] = { 400, "GET /heal thz HTTP/1.1\r\nHost: x\r\n\r\n" },
  ["an unknown coding"] = { 501, post .. "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" },
  ["chunked twice"] = { 400,
    post .. "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
  ["a chunk size with 0x"] = { 400, post .. "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n" },
  ["a signed chunk size"] = { 400, post .. "Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n" },
  ["a chunk size after a space"] = { 400,
    post .. "Transfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n" },
  ["a bare LF in the chunks"] = { 400, post .. "Transfer-Encoding: chunked\r\n\r\n5\nhello\n" },
  ["a chunk longer than its size"] = { 400,
    post .. "Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n" },
  ["an endless chunk size"] = { 400,
    post .. "Transfer-Encoding: chunked\r\n\r\n" .. ("0"):rep(40) .. "5\r\nhello\r\n" },
  ["HTTP/2"] = { 505, "GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n" },
  ["HTTP/0.9"] = { 400, "GET /healthz\r\n\r\n" },
  ["no method"] = { 400, " /healthz HTTP/1.1\r\nHost: x\r\n\r\n" },
  ["a method nobody knows"] = { 501, "BREW /healthz HTTP/1.1\r\nHost: x\r\n\r\n" },
  ["too long a target"] = { 414, "GET /" .. ("x"):rep(3000) .. " HTTP/1.1\r\nHost: x\r\n\r\n" },
  ["too many headers"] = { 431,
    "GET /healthz HTTP/1.1\r\nHost: x\r\n" .. ("A: b\r\n"):rep(101) .. "\r\n" },
  ["too long a head"] = { 431, "GET /healthz HTTP/1.1\r\nHost: x\r\nA: " .. ("x"):rep(33 * 1024)
    .. "\r\n\r\n" },
  ["too long a body"] = { 413, post .. "Content-Length: 99999999\r\n\r\n" },
  ["too long a body that waits for leave"] = { 413,
    post .. "Expect: 100-continue\r\nContent-Length: 99999999\r\n\r\n" },
  ["another expectation"] = { 417, post .. "Expect: tea\r\nContent-Length: 2\r\n\r\n{}" },
  ["binary rubbish"] = { 400, "\22\3\1\2\0\1\0\1\252\3\3rubbish\r\n\r\n" },
}

describe("the gate", function()
  local w, first, gateway

  before_each(function()
    w = world.new()
    first = w:upstream("first")
    gateway = w:gateway()
  end)

  after_each(function()
    w:close()
  end)

  local function assert_alive()
    local client = gateway:request { path = "/healthz" }
    assert.equal(200, client:read_response().status)
    client:close()
  end

  for name, case in pairs(unsound) do
    it("refuses " .. name .. ", and what hides behind it", function()
      local client = gateway:connect()
      client:send(case[2] .. hidden)
      local response = client:read_response()
      assert.equal(case[1], response.status)
      assert.equal("string", type(response.json.error.message))
      assert.equal("invalid_request_error", response.json.error.type)
      assert.equal("close", response.headers.connection)
      assert.equal("", (client:read_all())) -- nothing hidden was served
      assert.is_false(first:is_asked())
      assert_alive()
    end)
  end

  it("serves a sound request that came in the same read as a bad one, in order", function()
    local client = gateway:connect()
    client:send(sound .. sound .. unsound["two Content-Lengths"][2] .. hidden)
    assert.equal(200, client:read_response().status)
    assert.equal(200, client:read_response().status)
    assert.equal(400, client:read_response().status)
    assert.equal("", (client:read_all()))
  end)

  it("serves a slow sound request before it refuses the bad one behind it", function()
    local client = gateway:connect()
    local body = openai.request()
    client:send(post .. ("Content-Length: %d\r\n\r\n%s"):format(#body, body)
      .. unsound["a bare LF in the head"][2])
    first:answer(200, openai.answer())
    assert.equal(200, client:read_response().status)
    assert.equal(400, client:read_response().status)
    assert.equal("", (client:read_all()))
  end)

  it("reads a head that comes a byte at a time", function()
    local client = gateway:connect()
    for byte in sound:gmatch(".") do
      client:send(byte)
    end
    assert.equal(200, client:read_response().status)
  end)

  it("serves pipelined requests in order, one at a time", function()
    local client = gateway:connect()
    local one = openai.request():gsub('"hi"', '"one"')
    local two = openai.request():gsub('"hi"', '"two"')
    client:send(post .. ("Content-Length: %d\r\n\r\n%s"):format(#one, one)
      .. post .. ("Content-Length: %d\r\n\r\n%s"):format(#two, two))
    local connection, request = first:take()
    assert.is_truthy(request.body:find('"one"', 1, true))
    assert_alive()
    assert.is_false(first:is_asked())
    connection:respond(200, openai.answer("one"))
    local again = connection:read_request()
    assert.is_truthy(again.body:find('"two"', 1, true))
    connection:respond(200, openai.answer("two"))
    assert.is_truthy(client:read_response().body:find("one", 1, true))
    assert.is_truthy(client:read_response().body:find("two", 1, true))
  end)

  it("keeps its workers when requests are pipelined during a slow answer", function()
    local workers = gateway:workers()
    local client = gateway:chat()
    local connection = first:take()
    client:send(sound .. sound)
    assert_alive()
    connection:respond(200, openai.answer())
    for _ = 1, 3 do
      assert.equal(200, client:read_response().status)
    end
    assert.same(workers, gateway:workers())
  end)

  it("closes on a client that floods behind its request, and ends the request", function()
    local client = gateway:chat()
    local connection = first:take()
    assert_cut_off(client, sound:rep(2000), 20 * MIB)
    connection:read_all()
    assert_alive()
  end)

  it("closes on a client that floods with rubbish behind its request, and ends it", function()
    local client = gateway:chat()
    local connection = first:take()
    assert_cut_off(client, ("x"):rep(64 * 1024), 64 * MIB)
    connection:read_all()
    assert_alive()
  end)

  it("sees a client go that sent rubbish behind its request", function()
    local client = gateway:chat()
    local connection = first:take()
    for _ = 1, 100 do
      client:send(("x"):rep(10000))
    end
    client:close()
    connection:read_all()
    gateway:wait_log("event=request", "status=499")
  end)

  it("hides no body behind HEAD", function()
    local client = gateway:connect()
    client:send("HEAD /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: " .. #hidden .. "\r\n\r\n"
      .. hidden)
    local text = client:read_all()
    assert.is_nil(text:find('"list"', 1, true))
    assert_alive()
  end)

  it("serves a thousand requests on one connection", function()
    local client = gateway:connect()
    for _ = 1, 1000 do
      client:send(sound)
      assert.equal(200, client:read_response().status)
    end
  end)

  it("costs nothing when clients go at any byte of a request", function()
    local body = openai.request()
    local whole = post .. ("Content-Length: %d\r\n\r\n%s"):format(#body, body)
    assert_alive() -- the worker has opened what it needs
    local before = process.descriptors(gateway:workers()[1])
    for cut = 1, #whole - 1, 7 do
      local client = gateway:connect()
      client:send(whole:sub(1, cut))
      if cut % 2 == 0 then client:reset() else client:close() end
    end
    assert_alive()
    process.wait_descriptors(gateway:workers()[1], before)
    assert.is_false(first:is_asked())
  end)

  it("uses no processor time while it holds a request", function()
    local client = gateway:chat()
    local connection = first:take()
    client:send(sound) -- pipelined: must not make it spin
    assert_alive()
    local worker = gateway:workers()[1]
    local before = process.cpu(worker)
    libc.wait(client.fd, libc.POLLIN, libc.deadline(0.5))
    assert.is_true(process.cpu(worker) - before < 0.05 * libc.slower)
    connection:respond(200, openai.answer())
    assert.equal(200, client:read_response().status)
  end)
end)

describe("a gateway with few descriptors", function()
  it("waits for some to be free, without a flood of log lines", function()
    local w = world.new()
    w:upstream("first")
    local gateway = w:gateway { under = { "prlimit", "--nofile=64:64" } }
    if gateway.tls then
      w:close()
      return pending("who waits to be accepted shakes no hands")
    end
    local clients = {}
    for i = 1, 80 do
      clients[i] = gateway:connect()
    end
    local worker = gateway:workers()[1]
    local before = process.cpu(worker)
    assert.is_false(libc.wait(clients[80].fd, libc.POLLIN, libc.deadline(0.5)))
    assert.is_true(process.cpu(worker) - before < 0.1 * libc.slower)
    local _, lines = gateway:log():gsub("\n", "")
    assert.is_true(lines < 30, lines .. " lines")
    for i = 1, 79 do
      clients[i]:close()
    end
    assert.equal(200, clients[80]:request { path = "/healthz" }:read_response().status)
    w:close()
  end)
end)
