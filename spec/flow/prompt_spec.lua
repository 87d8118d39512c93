-- Promise 4: one frame in, one flush out; no frame waits for the next.

local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local process = require("spec.support.process")
local world = require("spec.support.world")

describe("a frame", function()
  local w, first

  before_each(function()
    w = world.new()
    first = w:upstream("first")
  end)

  after_each(function()
    w:close()
  end)

  it("reaches the client before the next is sent", function()
    local client = w:gateway():chat { stream = true }
    local provider = first:stream(openai.content("0"))
    assert.equal(200, client:read_head().status)
    assert.equal(openai.content("0"), client:read_chunk())
    for i = 1, 100 do
      local frame = openai.content(i)
      provider:send_chunk(frame)
      assert.equal(frame, client:read_chunk())
    end
  end)

  it("leaves in one piece when it comes in several", function()
    local client = w:gateway():chat { stream = true }
    local provider = first:stream(openai.content("0"))
    client:read_head()
    client:read_chunk()
    local frame = openai.content("in two")
    provider:send_chunk(frame:sub(1, 20))
    provider:send_chunk(frame:sub(21))
    assert.equal(frame, client:read_bytes(#frame))
  end)

  it("is not held up by keep-alive comments, which pass too", function()
    local client = w:gateway():chat { stream = true }
    local provider = first:stream(openai.content("0"))
    client:read_head()
    client:read_chunk()
    provider:send_chunk(": ping\n\n")
    assert.equal(": ping\n\n", client:read_chunk())
  end)

  -- The promise is 10 ms; a sanitizer's build makes every step slower, so what fails here is a loop
  -- that serves one stream to its end.  The worker's own CPU is counted: neighbours on a shared
  -- machine take what they want of the time.
  it("is not delayed by ten thousand frames of another stream", function()
    local second = w:upstream("second")
    local gateway = w:gateway { models = [[
      calm = waterfall { "first/m" },
      flood = waterfall { "second/m" },]] }
    local worker = gateway:workers()[1]
    local calm = gateway:chat { stream = true, model = "calm" }
    local provider = first:stream(openai.content("0"))
    calm:read_head()
    calm:read_chunk()
    local flooded = gateway:chat { stream = true, model = "flood" }
    local flood = second:stream()
    local left = {}
    for i = 1, 10000 do
      local frame = openai.content(i)
      left[i] = ("%x\r\n%s\r\n"):format(#frame, frame)
    end
    left = table.concat(left)
    local worst = 0
    while #left > 0 do
      local sent = flood:try_send(left)
      left = left:sub(sent + 1)
      local began = process.cpu(worker)
      provider:send_chunk(openai.content("x"))
      calm:read_chunk()
      worst = math.max(worst, process.cpu(worker) - began)
      while flooded:is_readable() and flooded:try_receive(0) do end -- a client that keeps up
    end
    assert.is_true(worst < 0.1 * libc.slower, ("%.1f ms"):format(worst * 1000))
  end)
end)
