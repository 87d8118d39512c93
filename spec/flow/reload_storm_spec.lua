-- Promise 9 under load: many reloads, every tenth broken, beside live streams and plain requests.
-- No stream is cut, no request fails, memory and descriptors come back.
--
-- RELOADS and STREAMS make it larger than it is in the ordinary run.

local openai = require("spec.support.openai")
local process = require("spec.support.process")
local world = require("spec.support.world")

local RELOADS = tonumber(os.getenv("RELOADS")) or 40
local STREAMS = tonumber(os.getenv("STREAMS")) or 21
local once = { Connection = "close" } -- each request comes on a connection of its own

describe("a storm of reloads", function()
  local w, up, gateway

  before_each(function()
    w = world.new()
    up = w:upstream("first")
  end)

  after_each(function()
    w:close()
  end)

  local function config(number)
    return w:config {
      more = ('  workers = 1, reload = { watch = false }, log = { level = "%s" },'):format(
        number == 0 and "info" or "error"),
      models = ('    default = waterfall { "first/m" }, ["of-%d"] = waterfall { "first/m" },')
        :format(number),
    }
  end

  local function open_stream()
    local stream = { client = gateway:chat { stream = true } }
    stream.provider = up:take()
    stream.provider:start_stream(once)
    stream.provider:send_chunk(openai.content("a"))
    stream.generation = stream.client:read_head().headers["x-weir-generation"]
    assert.equal(openai.content("a"), stream.client:read_chunk())
    return stream
  end

  local function end_stream(stream)
    stream.provider:send_chunk(openai.finish .. openai.done)
    stream.provider:finish_stream()
    stream.provider:close()
    local text, ended = stream.client:read_chunks()
    assert.same({ openai.finish .. openai.done, "complete" }, { text, ended })
    stream.client:close()
  end

  --- A plain request that is on its way while what happens happens.
  local function across(generation, happens)
    local client = gateway:chat()
    local provider = up:take()
    happens()
    provider:respond(200, openai.answer(), once)
    provider:close()
    local response = client:read_response()
    assert.equal(200, response.status)
    assert.equal(tostring(generation), response.headers["x-weir-generation"])
    client:close()
  end

  --- Reloads; gives the generation that serves then.
  local function reload(number, generation)
    local is_broken = number % 10 == 0
    gateway:write("weir.lua", is_broken and "return {" or config(number))
    local status = gateway:command("reload", "--wait")
    assert.equal(is_broken and 3 or 0, status)
    return is_broken and generation or generation + 1
  end

  --- The oldest third of the streams ends, and as many begin.
  local function turn_over(streams, generation)
    for _ = 1, STREAMS / 3 do
      end_stream(table.remove(streams, 1))
      local stream = open_stream()
      assert.equal(tostring(generation), stream.generation)
      streams[#streams + 1] = stream
    end
    w.upstreams[1].connections, gateway.clients = {}, {}
  end

  local function state()
    local worker = gateway:workers()[1]
    return {
      memory = process.memory(worker) + process.memory(gateway.process.pid),
      worker = process.descriptors(worker),
      master = process.descriptors(gateway.process.pid),
    }
  end

  --- Gives the state after a quarter, and at the end.
  local function storm()
    local streams, generation, before = {}, 1, nil
    gateway = w:gateway { config = config(0) }
    local port = gateway.port
    for _ = 1, STREAMS do streams[#streams + 1] = open_stream() end
    for number = 1, RELOADS do
      across(generation, function() generation = reload(number, generation) end)
      for _, stream in ipairs(streams) do
        stream.provider:send_chunk(openai.content("b"))
        assert.equal(openai.content("b"), stream.client:read_chunk())
      end
      turn_over(streams, generation)
      if number == math.floor(RELOADS / 4) then before = state() end
    end
    local after = state()
    for _, stream in ipairs(streams) do end_stream(stream) end
    assert.equal(port, gateway.port)
    assert.is_nil(gateway:log():find("worker_died", 1, true))
    return before, after
  end

  it("cuts no stream and fails no request", function()
    local before, after = storm()
    assert.same({ before.worker, before.master }, { after.worker, after.master })
  end)

  it("gives its memory back #plain", function()
    local before, after = storm()
    local grown = (after.memory - before.memory) / 1024
    assert.is_true(grown < 1024, grown .. " KiB more than after a quarter of the reloads")
    if os.getenv("RELOADS") then print(("%d reloads: %d KiB more"):format(RELOADS, grown)) end
  end)
end)
