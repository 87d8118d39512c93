-- Clients that begin and do not go on: each state of a connection has a deadline.

local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local world = require("spec.support.world")

local FRAME = openai.content(("x"):rep(4000))

--- Sends frames without end, as many as are taken; gives a function that sends on.
local function pour(provider)
  local chunks = ("%x\r\n%s\r\n"):format(#FRAME, FRAME):rep(16)
  local left = chunks
  return function()
    if #left < #chunks then left = left .. chunks end -- more than anybody reads at once
    left = left:sub((provider:try_send(left) or 0) + 1) -- it may be cut before the log says so
  end
end

describe("a client's deadline", function()
  local w, first

  before_each(function()
    w = world.new()
    first = w:upstream("first")
  end)
  after_each(function() w:close() end)

  local function with(limits)
    return w:gateway { more = ("  workers = 1, limits = { %s },"):format(limits) }
  end

  --- A client that is answered in the midst of a head, which it begins so. On a busy machine its
  --- time may be over before it has begun: then another tries.
  local function answered(gateway, begin)
    local till = libc.now() + 9 -- without head_time there are ten seconds
    while libc.now() < till do
      local client = gateway:connect()
      begin(client, till)
      assert(libc.wait(client.fd, libc.POLLIN, till), "nothing ends it")
      if not client:is_closed() then return client end
      client:close()
    end
    error("all are closed without an answer")
  end

  it("ends a head that is not whole, with 408", function()
    local client = answered(with "head_time = 0.2", function(client)
      client:send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n")
    end)
    local response = client:read_response()
    assert.equal(408, response.status)
    assert.equal("close", response.headers.connection)
    assert.equal("", client:read_all())
  end)

  it("ends a head that comes byte by byte", function()
    local client = answered(with "head_time = 0.2", function(client, till)
      client:send("GET /healthz HTTP/1.1\r\nx: ")
      while not libc.wait(client.fd, libc.POLLIN, libc.now() + 0.02) do
        client:send("x")
        assert(libc.now() < till, "bytes put it off")
      end
    end)
    assert.equal(408, client:read_response().status)
  end)

  it("closes a connection that says nothing", function()
    local gateway = with "head_time = 0.2"
    assert.equal("", gateway:connect():read_all(9))
  end)

  it("ends a body that is not whole, with 408", function()
    local gateway = with "body_time = 0.2"
    local client = gateway:connect()
    client:send("POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json"
      .. "\r\nContent-Length: 100\r\n\r\n{")
    assert.equal(408, client:read_response().status)
    assert.is_false(first:is_asked())
  end)

  it("closes a kept connection without another request", function()
    local gateway = with "idle_time = 0.2"
    local client = gateway:request { path = "/healthz" }
    assert.equal(200, client:read_response().status)
    assert.equal("", client:read_all())
  end)

  it("cuts a reader that takes nothing, and its provider", function()
    local gateway = with "stuck_time = 0.3"
    local client = gateway:connect { receive_buffer = 4096 }
    client:request { body = openai.request(true) }
    local provider = first:take()
    provider:set_send_buffer(65536)
    provider:start_stream()
    local send_on, deadline = pour(provider), libc.deadline(20)
    while not gateway:log():find("event=request", 1, true) do
      send_on()
      libc.wait(provider.fd, libc.POLLOUT, libc.now() + 0.02)
      assert(libc.now() < deadline, "it is not cut")
    end
    gateway:wait_log("event=request", "status=499")
  end)

  it("lets a slow reader be that takes something now and then", function()
    --- Whether the stream goes on for over twice the time; nil when a step took half of it, as the
    --- machine was busy.
    local function goes_on(stuck)
      local gateway = with("stuck_time = " .. stuck)
      local client = gateway:connect { receive_buffer = 4096 }
      client:request { body = openai.request(true) }
      local provider = first:take()
      provider:set_send_buffer(65536)
      provider:start_stream()
      local send_on, last = pour(provider), libc.now()
      local till = last + 2.4 * stuck
      send_on()
      client:read_head()
      while libc.now() - last < stuck / 2 do
        last = libc.now()
        if last > till then return not gateway:log():find("event=request", 1, true) end
        send_on()
        client:read_bytes(20000)
      end
    end
    local went_on = goes_on(0.5)
    if went_on == nil then went_on = goes_on(2) end
    if went_on == nil then went_on = goes_on(8) end
    assert.is_true(went_on)
  end)

  it("follows a reload, for connections that are open too", function()
    local gateway = w:gateway {
      more = "  workers = 1, reload = { watch = false }, limits = { idle_time = 60 },",
    }
    local client = gateway:request { path = "/healthz" }
    client:read_response()
    gateway:write("weir.lua", w:config {
      more = "  workers = 1, reload = { watch = false }, limits = { idle_time = 0.2 },",
    })
    gateway:reload(2)
    client:request { path = "/healthz" }
    assert.equal(200, client:read_response().status)
    assert.equal("", client:read_all())
  end)
end)
