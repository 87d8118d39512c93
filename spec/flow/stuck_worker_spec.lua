-- Promise 8, the last resort: Lua that no hook stops costs one worker, and that for a second.  On
-- the plain build: what is preloaded here does not go with a sanitizer's own.

local gateway_support = require("spec.support.gateway")
local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local preload = require("spec.support.preload")
local process = require("spec.support.process")
local world = require("spec.support.world")

describe("a worker that is stuck below Lua #plain", function()
  local w, first, folder, gateway

  before_each(function()
    w = world.new()
    first = w:upstream("first")
    folder = gateway_support.folder {}
    gateway = w:gateway {
      under = preload(folder, "stuck_sine"),
      more = "  workers = 2,",
      models = [[
    stuck = function(req)
      while true do pcall(math.sin, 4711) end
    end,
    fine = function(req) return req:reply(200, { sine = math.sin(0) }) end,
    default = waterfall { "first/m" },]],
    }
  end)

  after_each(function()
    w:close()
    gateway_support.remove_folder(folder)
  end)

  --- A stream, and the worker that serves it: the one that has more descriptors open for it.
  local function open_stream()
    local before = {}
    for _, pid in ipairs(gateway:workers()) do before[pid] = process.descriptors(pid) end
    local stream = { client = gateway:chat { stream = true } }
    stream.provider = first:stream(openai.content("begin"))
    stream.client:read_head()
    stream.client:read_chunk()
    for pid, count in pairs(before) do
      if process.descriptors(pid) > count then stream.worker = pid end
    end
    return stream
  end

  local function assert_goes_on(stream, text)
    stream.provider:send_chunk(openai.content(text))
    assert.equal(openai.content(text), stream.client:read_chunk())
  end

  --- Two streams, each on a worker of its own.
  local function open_both()
    local one, other = open_stream(), open_stream()
    local deadline = libc.deadline()
    while other.worker == one.worker do
      assert(libc.now() < deadline, "one worker has all connections")
      other = open_stream()
    end
    return one, other
  end

  it("is replaced, and the streams of the others see nothing", function()
    local streams = { open_both() }
    local begin = libc.now()
    local victim = gateway:chat { model = "stuck" }
    local died = gateway:wait_log("event=worker_died", "status=86")
    assert.is_true(libc.now() - begin >= 1) -- the hook had its time
    gateway:wait_log("event=policy_stuck")
    local lost = tonumber(died:match("pid=(%d+)"))
    for _, stream in ipairs(streams) do
      if stream.worker == lost then
        assert.not_equal("complete", (select(2, stream.client:read_chunks())))
      else
        for i = 1, 20 do assert_goes_on(stream, "event " .. i) end
      end
    end
    assert.equal("", victim:read_all())
    local deadline = libc.deadline()
    while #gateway:workers() < 2 do assert(libc.now() < deadline) end
    for _ = 1, 4 do
      assert.equal(0, gateway:chat({ model = "fine" }):read_response().json.sine)
    end
  end)

  it("holds up none of the others' streams while it is stuck", function()
    local streams = { open_both() }
    local burnt = {}
    for _, stream in ipairs(streams) do burnt[stream.worker] = process.cpu(stream.worker) end
    gateway:chat { model = "stuck" }
    local deadline, free = libc.deadline(), nil
    while not free do -- the one whose CPU runs is stuck
      assert(libc.now() < deadline)
      for i, stream in ipairs(streams) do
        if process.cpu(stream.worker) - burnt[stream.worker] > 0.1 then free = streams[3 - i] end
      end
    end
    for i = 1, 50 do assert_goes_on(free, "event " .. i) end
    assert.is_nil(gateway:log():find("worker_died", 1, true)) -- so they came meanwhile
    gateway:wait_log("event=worker_died", "status=86")
    assert_goes_on(free, "after it")
  end)
end)
