-- Promise 6: connect, first, idle and total; comments and pings reset none of them.

local http = require("spec.support.http")
local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local socket = require("spec.support.socket")
local world = require("spec.support.world")

describe("the clock", function()
  local w, first, second

  before_each(function()
    w = world.new()
    first, second = w:upstream("first"), w:upstream("second")
  end)

  after_each(function()
    w:close()
  end)

  --- The second has all the time that there is.
  local function start(timeout)
    return w:gateway { more = "workers = 1, timeout = { connect = 60 },",
      provider = { first = "timeout = { " .. timeout .. " }" } }
  end

  local function second_serves(client)
    second:stream(openai.content("b"), openai.finish, openai.done):finish_stream()
    local response = client:read_response()
    assert.equal(200, response.status)
    assert.equal("second/second-model", response.headers["x-weir-target"])
  end

  it("connect ends an attempt that gets no connection", function()
    first:refuse()
    local deaf = socket.listen(0, first.port)
    local filling = socket.connect(first.port)
    local client = start("connect = 0.2"):chat { stream = true }
    second_serves(client)
    filling:close()
    deaf:close()
  end)

  it("first ends an attempt that brings no head", function()
    local client = start("first = 1"):chat { stream = true }
    local provider = first:take()
    second_serves(client)
    provider:wait_closed()
  end)

  it("first ends a plain attempt that brings no head", function()
    local gateway = start("first = 1")
    local client = gateway:chat()
    local provider = first:take()
    second:answer(200, openai.answer())
    assert.equal(200, client:read_response().status)
    provider:wait_closed()
  end)

  it("first runs to the commit point: pings do not reset it", function()
    local client = start("first = 1"):chat { stream = true }
    local provider = first:stream(openai.role)
    local deadline = libc.deadline()
    while not second:is_asked() do
      assert(libc.now() < deadline, "pings keep the attempt alive")
      provider:send_chunk(": ping\n\n")
      libc.wait(second.listener.fd, libc.POLLIN, libc.now() + 0.02)
    end
    second_serves(client)
  end)

  it("idle ends a stream in which only pings come", function()
    local client = start("idle = 0.3"):chat { stream = true }
    local provider = first:stream(openai.content("a"))
    client:read_head()
    client:read_chunk()
    local text, deadline = "", libc.deadline()
    while not text:find("error", 1, true) do
      assert(libc.now() < deadline, "pings keep the stream alive")
      provider:send_chunk(": ping\n\n")
      if client:is_readable() or libc.wait(client.fd, libc.POLLIN, libc.now() + 0.02) then
        text = text .. (client:read_chunk() or "")
      end
    end
    local events = openai.events(text)
    assert.equal("stream_timeout", http.decode(events[#events]).error.code)
  end)

  it("idle is reset by content", function()
    --- Whether events come through for over twice the clock, in steps of an eighth; nil when a
    --- step took half of it, as the machine was busy.
    local function goes_on(idle)
      local client = start("idle = " .. idle):chat { stream = true }
      local last = libc.now()
      local till, provider = last + 2.5 * idle, first:stream(openai.content("0"))
      client:read_head()
      local came = client:read_chunk() == openai.content("0")
      while libc.now() - last < idle / 2 do
        last = libc.now()
        if not came or last > till then return came end
        libc.wait(client.fd, libc.POLLIN, last + idle / 8)
        provider:send_chunk(openai.content("x"))
        came = client:read_chunk() == openai.content("x")
      end
    end
    local went_on = goes_on(0.4)
    if went_on == nil then went_on = goes_on(1.6) end
    if went_on == nil then went_on = goes_on(6.4) end
    assert.is_true(went_on)
  end)

  it("total ends a stream that never stops", function()
    local client = start("total = 2"):chat { stream = true }
    local provider = first:stream(openai.content("0"))
    client:read_head()
    client:read_chunk()
    local text, deadline = "", libc.deadline()
    while not text:find("error", 1, true) do
      assert(libc.now() < deadline, "nothing ends it")
      if not provider:send_chunk(openai.content("x")) then break end
      text = client:read_chunk() or text
    end
    assert.is_truthy(text:find("timeout", 1, true))
  end)

  it("total ends a plain answer that drips", function()
    local client = start("total = 1.5"):chat()
    local provider = first:take()
    provider:send("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
      .. "Content-Length: 100000\r\n\r\n")
    local deadline = libc.deadline()
    while not second:is_asked() do
      assert(libc.now() < deadline, "nothing ends it")
      provider:send(" ")
      libc.wait(second.listener.fd, libc.POLLIN, libc.now() + 0.02)
    end
    second:answer(200, openai.answer())
    assert.equal(200, client:read_response().status)
  end)

  it("of a send overrides the provider's", function()
    local gateway = w:gateway { provider = { first = "timeout = { first = 60 }" }, models = [[
      default = function(req)
        local res, err = req:send("first/m", { timeout = { first = 1 } })
        if res then return res end
        return req:reply(418, err.code)
      end,]] }
    local client = gateway:chat()
    first:take()
    assert.equal(418, client:read_response().status)
  end)

  it("first of every target gives a 504", function()
    local gateway = w:gateway { provider = { ["*"] = "timeout = { first = 1 }" } }
    local client = gateway:chat()
    first:take()
    second:take()
    local response = client:read_response()
    assert.equal(504, response.status)
    assert.equal("timeout", response.json.error.code)
  end)

  it("of the provider leaves a client that pipelines alone", function()
    local gateway = start("first = 30")
    local client = gateway:chat()
    local provider = first:take()
    client:send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n") -- pipelined meanwhile
    provider:respond(200, openai.answer())
    assert.equal(200, client:read_response().status)
    assert.equal(200, client:read_response().status)
  end)
end)
