-- req:shadow: a copy that nobody waits for, in the running gateway.

local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local world = require("spec.support.world")

describe("a shadow", function()
  local w, first, second

  before_each(function()
    w = world.new()
    first, second = w:upstream("first"), w:upstream("second")
  end)

  after_each(function()
    w:close()
  end)

  local function shadowing(more)
    return w:gateway { more = more, models = [[
    default = require("policies.shadow")({ "first/m" }, { to = "second/m" }),]] }
  end

  it("is answered after the client, on a connection of its own", function()
    local gateway = shadowing()
    local client = gateway:chat { stream = true }
    local copy, request = second:take()
    first:stream(openai.role, openai.content("hi"), openai.finish, openai.done):finish_stream()
    assert.equal("complete", client:read_response().ended)
    copy:respond(200, openai.answer("unseen"))
    local line = gateway:wait_log("event=shadow", "target=second/m")
    assert.truthy(line:find("outcome=bad_response", 1, true)) -- it was asked for a stream
    assert.is_true(request.json.stream)
  end)

  it("logs no word of its answer", function()
    local gateway = shadowing()
    local client = gateway:chat()
    second:answer(200, openai.answer("never to be logged"))
    first:answer(200, openai.answer("hello"))
    client:read_response()
    gateway:wait_log("event=shadow", "outcome=ok", "completion_tokens=3")
    assert.is_nil(gateway:log():find("never to be logged", 1, true))
  end)

  it("is closed when the client leaves", function()
    local client = shadowing():chat()
    local copy = second:take()
    first:take()
    client:close()
    copy:wait_closed()
  end)

  it("does not hold up a drain", function()
    local gateway = shadowing()
    local client = gateway:chat()
    local copy = second:take()
    first:answer(200, openai.answer("hello"))
    client:read_response()
    gateway.process:signal(libc.SIGTERM)
    copy:wait_closed()
    gateway:wait_log("event=shadow", "outcome=cancelled")
  end)

  it("ends on the generation that it began with", function()
    local gateway = shadowing()
    local client = gateway:chat()
    local copy = second:take()
    first:answer(200, openai.answer("hello"))
    client:read_response()
    gateway:reload(2)
    copy:respond(200, openai.answer("late"))
    gateway:wait_log("event=shadow", "outcome=ok")
  end)

  it("is sent by the running policy alone", function()
    local gateway = w:gateway { models = [[
    default = function(req)
      local res, err = req:send("first/m")
      return res and res:map(function(event)
        local _, why = pcall(req.shadow, req, "second/m")
        event.text = why
        return event
      end), err
    end,]] }
    local client = gateway:chat()
    first:answer(200, openai.answer("hello"))
    assert.truthy(client:read_response().body:find("while it runs", 1, true))
  end)
end)
