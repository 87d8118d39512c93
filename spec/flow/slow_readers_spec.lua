-- Promise 7: a client that reads slowly, or not at all, slows only itself.
-- (#plain: figures of the build without sanitizers, which take memory of their own.)

local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local process = require("spec.support.process")
local world = require("spec.support.world")

local MIB = 1024 * 1024
local frame = openai.content(("x"):rep(4000))
local chunk = ("%x\r\n%s\r\n"):format(#frame, frame)
local batch = chunk:rep(16)

--- Sends until nobody takes more for a while, and the worker that would has nothing to do; gives
--- the bytes that were taken.
local function send_until_stuck(provider, most, gateway)
  local worker = gateway:workers()[1]
  local taken, left = 0, batch
  while taken < most do
    local count = provider:try_send(left)
    if count == 0 and not libc.wait(provider.fd, libc.POLLOUT, libc.deadline(0.5))
      and process.is_asleep(worker) and not libc.wait(provider.fd, libc.POLLOUT, 0) then break end
    taken = taken + count
    left = left:sub(count + 1)
    if left == "" then left = batch end
  end
  return taken, left
end

describe("a client that does not read", function()
  local w, first, second

  before_each(function()
    w = world.new()
    first, second = w:upstream("first"), w:upstream("second")
  end)

  after_each(function()
    w:close()
  end)

  --- A stream whose client takes nothing; gives both ends and what was sent.
  local function stuck_stream(gateway, up)
    local client = gateway:connect { receive_buffer = 4096 }
    client:request { body = openai.request(true) }
    local provider = up:take()
    provider:set_send_buffer(65536)
    provider:start_stream()
    return client, provider, send_until_stuck(provider, 64 * MIB, gateway)
  end

  it("pauses its provider, and the worker rests", function()
    local gateway = w:gateway()
    local worker = gateway:workers()[1]
    local _, provider, taken = stuck_stream(gateway, first)
    -- what was taken lies in the kernel's buffers but for our own high-water mark
    assert.is_true(taken < 24 * MIB, "the provider was never paused")
    local used = process.cpu(worker)
    assert.is_false(libc.wait(provider.fd, libc.POLLOUT, libc.now() + 0.5))
    assert.is_true(process.cpu(worker) - used < 0.1, "the worker spins while paused")
  end)

  it("costs a bounded amount of memory #plain", function()
    local gateway = w:gateway()
    local worker = gateway:workers()[1]
    stuck_stream(gateway, first) -- what malloc keeps for itself is there after one
    local before = process.memory(worker)
    local count, taken = 8, 0
    for _ = 1, count do
      local _, _, more = stuck_stream(gateway, first)
      taken = taken + more
    end
    local each = (process.memory(worker) - before) / count
    assert.is_true(each < MIB, ("%d KiB each"):format(each / 1024))
    assert.is_true(taken / count > 2 * each, "so little was sent that nothing is proved")
  end)

  it("gets every byte once it reads", function()
    local gateway = w:gateway()
    local client = gateway:connect { receive_buffer = 4096 }
    client:request { body = openai.request(true) }
    local provider = first:take()
    provider:start_stream()
    local taken, left = send_until_stuck(provider, 64 * MIB, gateway)
    client:read_head()
    -- what the last chunk still lacks comes first
    local count, pending = 0, left:sub(1, #left % #chunk)
      .. ("%x\r\n%s\r\n"):format(#openai.finish, openai.finish)
      .. ("%x\r\n%s\r\n"):format(#openai.done, openai.done) .. "0\r\n\r\n"
    local frames = math.ceil(taken / #chunk)
    local want = frames * #frame + #openai.finish + #openai.done
    while count < want do
      if #pending > 0 then pending = pending:sub((provider:try_send(pending) or 0) + 1) end
      count = count + #assert(client:read_chunk())
    end
    assert.equal(want, count)
    assert.is_nil(client:read_chunk())
  end)

  it("does not slow another", function()
    local gateway = w:gateway { models = [[
      stuck = waterfall { "first/m" },
      quick = waterfall { "second/m" },]] }
    local stuck = gateway:connect { receive_buffer = 4096 }
    stuck:request { body = openai.request(true, "stuck") }
    local provider = first:take()
    provider:start_stream()
    send_until_stuck(provider, 64 * MIB, gateway)
    local quick = gateway:chat { stream = true, model = "quick" }
    local other = second:stream(openai.content("0"))
    quick:read_head()
    quick:read_chunk()
    for i = 1, 20 do
      other:send_chunk(openai.content(i))
      assert.equal(openai.content(i), quick:read_chunk())
    end
  end)

  it("takes its provider along when it goes at last", function()
    local gateway = w:gateway()
    local client = gateway:connect { receive_buffer = 4096 }
    client:request { body = openai.request(true) }
    local provider = first:take()
    provider:start_stream()
    send_until_stuck(provider, 64 * MIB, gateway)
    client:reset()
    gateway:wait_log("event=request", "status=499")
    assert.equal("reset", select(2, provider:read_all()))
  end)
end)
