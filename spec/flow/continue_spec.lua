-- res:on_break in the running gateway: a stream that breaks goes on with another target.

local http = require("spec.support.http")
local openai = require("spec.support.openai")
local world = require("spec.support.world")

local SIGQUIT = 3

describe("a stream that goes on", function()
  local w, first, second

  before_each(function()
    w = world.new()
    first, second = w:upstream("first"), w:upstream("second")
  end)

  after_each(function()
    w:close()
  end)

  local function continuing(provider)
    return w:gateway { provider = provider, models = [[
    default = require("policies.continue") { "first/m", "second/m" },]] }
  end

  --- A client that has seen half of an answer, whose provider then breaks.
  local function half(gateway)
    local client = gateway:chat { stream = true }
    local begun = openai.role .. openai.content("half ")
    local provider = first:stream(openai.role, openai.content("half "))
    assert.equal(200, client:read_head().status)
    assert.equal(begun, client:read_bytes(#begun))
    provider:reset()
    return client
  end

  it("is byte for byte what both said, with one role", function()
    local client = half(continuing())
    local _, request = second:stream(openai.role, openai.content("whole"), openai.finish,
      openai.done)
    assert.equal("half ", request.json.messages[2].content)
    local rest, ended = client:read_chunks()
    assert.equal("complete", ended)
    assert.equal(openai.content("whole") .. openai.finish .. openai.done, rest)
  end)

  it("goes on when the stream falls silent", function()
    local client = continuing({ first = "timeout = { idle = 0.2 }" }):chat { stream = true }
    first:stream(openai.role, openai.content("half "))
    second:stream(openai.content("whole"), openai.finish, openai.done)
    local response = client:read_response()
    assert.equal("complete", response.ended)
    assert.truthy(response.body:find("whole", 1, true))
  end)

  it("ends with one error event when the second fails too", function()
    local gateway = continuing()
    local client = half(gateway)
    second:answer(500, openai.failure("no"))
    local rest, ended = client:read_chunks()
    assert.equal(gateway.cut, ended)
    local events = openai.events(rest)
    assert.equal("string", type(http.decode(events[#events]).error.code))
    gateway:wait_log("event=request", "code=stream_truncated", "target=first/m", "attempts=2")
  end)

  it("closes the second's connection when the client leaves", function()
    local client = half(continuing())
    local connection = second:take()
    client:close()
    connection:wait_closed()
  end)

  it("ends with an error event when the gateway stops while it looks for another", function()
    local gateway = continuing()
    local client = half(gateway)
    second:take()
    gateway.process:signal(SIGQUIT)
    assert.truthy(client:read_chunks():find("shutting_down", 1, true))
    assert.equal(0, gateway.process:wait(10))
  end)
end)
