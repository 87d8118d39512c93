-- The master and its workers: a dead worker is replaced, SIGTERM drains, a second ends at once.

local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local process = require("spec.support.process")
local world = require("spec.support.world")

describe("the master", function()
  local w, first

  before_each(function()
    w = world.new()
    first = w:upstream("first")
  end)

  after_each(function()
    w:close()
  end)

  it("starts as many workers as are asked for", function()
    assert.equal(3, #w:gateway({ more = "  workers = 3," }):workers())
  end)

  it("replaces a worker that was killed, and the others serve on", function()
    local gateway = w:gateway { more = "  workers = 2," }
    local client = gateway:chat { stream = true }
    local provider = first:stream(openai.content("a"))
    client:read_head()
    client:read_chunk()
    local busy
    for _, pid in ipairs(gateway:workers()) do -- the one with the stream holds more descriptors
      if not busy or process.descriptors(pid) > process.descriptors(busy) then busy = pid end
    end
    for _, pid in ipairs(gateway:workers()) do
      if pid ~= busy then libc.C.kill(pid, libc.SIGKILL) end
    end
    gateway:wait_log("event=worker_died")
    provider:send_chunk(openai.content("b"))
    assert.equal(openai.content("b"), client:read_chunk())
    local deadline = libc.deadline()
    while #gateway:workers() < 2 do
      assert(libc.now() < deadline, "no new worker")
      libc.wait(client.fd, libc.POLLIN, libc.now() + 0.02) -- nothing comes there
    end
  end)

  it("cuts the streams of a killed worker without a final chunk", function()
    local gateway = w:gateway()
    local client = gateway:chat { stream = true }
    first:stream(openai.content("a"))
    client:read_head()
    client:read_chunk()
    libc.C.kill(gateway:workers()[1], libc.SIGKILL)
    assert.is_nil((client:read_all()):find("0\r\n\r\n", 1, true))
    client = gateway:chat()
    first:answer(200, openai.answer())
    assert.equal(200, client:read_response().status)
  end)

  it("lets streams finish on SIGTERM, and takes no new requests", function()
    local gateway = w:gateway()
    local idle = gateway:connect()
    idle:request { path = "/healthz" }:read_response()
    local client = gateway:chat { stream = true }
    local provider = first:stream(openai.content("a"))
    client:read_head()
    client:read_chunk()
    gateway.process:signal(libc.SIGTERM)
    idle:wait_closed()
    provider:send_chunk(openai.content("b") .. openai.finish .. openai.done)
    provider:finish_stream()
    local text, ended = client:read_chunks()
    assert.equal(openai.content("b") .. openai.finish .. openai.done, text)
    assert.equal("complete", ended)
    client:wait_closed()
    assert.equal(0, gateway.process:wait())
  end)

  it("ends what is left with an error event when the drain is over", function()
    local gateway = w:gateway { more = "  workers = 1, drain = 0.3," }
    local client = gateway:chat { stream = true }
    first:stream(openai.content("a"))
    client:read_head()
    client:read_chunk()
    gateway.process:signal(libc.SIGTERM)
    local text = client:read_all()
    assert.is_truthy(text:find('"error"', 1, true))
    assert.is_nil(text:find("[DONE]", 1, true))
    assert.equal(0, gateway.process:wait())
  end)

  it("drains as well when the workers get the SIGTERM too, as from systemd", function()
    local gateway = w:gateway()
    local worker = gateway:workers()[1]
    local idle = gateway:connect()
    idle:request { path = "/healthz" }:read_response()
    local client = gateway:chat { stream = true }
    local provider = first:stream(openai.content("a"))
    client:read_head()
    client:read_chunk()
    libc.C.kill(worker, libc.SIGTERM)
    idle:wait_closed() -- it has arrived
    gateway.process:signal(libc.SIGTERM)
    gateway:wait_log("event=draining")
    provider:send_chunk(openai.content("b"))
    assert.equal(openai.content("b"), client:read_chunk())
    provider:send_chunk(openai.finish .. openai.done)
    provider:finish_stream()
    assert.equal("complete", select(2, client:read_chunks()))
    assert.equal(0, gateway.process:wait())
  end)

  it("ends at once on a second SIGTERM", function()
    local gateway = w:gateway()
    local client = gateway:chat { stream = true }
    first:stream(openai.content("a"))
    client:read_head()
    client:read_chunk()
    local idle = gateway:connect()
    idle:request { path = "/healthz" }:read_response()
    gateway.process:signal(libc.SIGTERM)
    idle:wait_closed() -- the first has arrived
    gateway.process:signal(libc.SIGTERM)
    gateway.process:wait()
    assert.is_true(client:is_closed() or client:read_all() ~= nil)
  end)

  it("ends a worker that hears nothing at the third", function()
    local gateway = w:gateway { more = "  workers = 1, policy = { burst = 60 },", models = [[
      default = function() weir.log.info("looping", {}) while true do end end,]] }
    gateway:chat()
    gateway:wait_log("says=looping")
    gateway.process:signal(libc.SIGTERM)
    gateway:wait_log("event=draining")
    gateway.process:signal(libc.SIGTERM)
    gateway:wait_log("event=stopping")
    gateway.process:signal(libc.SIGTERM)
    assert.equal(1, gateway.process:wait())
  end)

  it("ends its workers when it is killed itself", function()
    local gateway = w:gateway()
    local worker = gateway:workers()[1]
    local watch = tonumber(libc.C.syscall(434, libc.ffi.cast("int", worker),
      libc.ffi.cast("int", 0)))
    gateway.process:signal(libc.SIGKILL)
    assert.is_nil(gateway.process:wait())
    assert.is_true(libc.wait(watch, libc.POLLIN, libc.deadline()))
    libc.C.close(watch)
  end)

  it("rests in little memory #plain", function()
    local gateway = w:gateway()
    local total = process.memory(gateway.process.pid)
    for _, pid in ipairs(gateway:workers()) do
      total = total + process.memory(pid)
    end
    assert.is_true(total < 40 * 1024 * 1024, total / 1024 .. " KiB") -- pages that both share twice
  end)

  it("gives back every descriptor after a hundred aborted streams", function()
    local gateway = w:gateway()
    local worker = gateway:workers()[1]
    local function abort_one()
      local client = gateway:chat { stream = true }
      local provider = first:stream(openai.content("a"))
      client:read_head()
      client:reset()
      provider:read_all()
      provider:close()
    end
    abort_one() -- the first opens what stays
    local before = process.descriptors(worker)
    for _ = 1, 100 do
      abort_one()
    end
    process.wait_descriptors(worker, before)
  end)
end)

describe("weir serve", function()
  local gateway = require("spec.support.gateway")

  local function run(...)
    local child = process.start(gateway.command(...))
    return child:wait(20), child.text.out, child.text.err
  end

  it("refuses to start with a bad configuration, and says where", function()
    local folder = gateway.folder { ["weir.lua"] = "return { providers = {}, modles = {} }" }
    local status, _, err = run("serve", folder .. "/weir.lua")
    gateway.remove_folder(folder)
    assert.is_true(status ~= 0)
    assert.is_truthy(err:find("modles", 1, true))
  end)

  it("refuses to start without its file", function()
    local status, _, err = run("serve", "/nonexistent/weir.lua")
    assert.is_true(status ~= 0)
    assert.is_truthy(err:find("/nonexistent/weir.lua", 1, true))
  end)

  it("refuses a port that is taken", function()
    local listener = require("spec.support.socket").listen()
    local folder = gateway.folder { ["weir.lua"] = ([[
      return {
        listen = "127.0.0.1:%d",
        providers = { a = { type = "openai", base_url = "http://127.0.0.1:1/v1" } },
        models = { m = function(req) return req:send("a/m") end },
      }]]):format(listener.port) }
    local status, _, err = run("serve", folder .. "/weir.lua")
    gateway.remove_folder(folder)
    listener:close()
    assert.is_true(status ~= 0)
    assert.is_truthy(err:find(tostring(listener.port), 1, true))
  end)

  it("listens beyond loopback only with keys", function()
    local folder = gateway.folder { ["weir.lua"] = [[
      return {
        listen = "0.0.0.0:0",
        providers = { a = { type = "openai", base_url = "http://127.0.0.1:1/v1" } },
        models = { m = function(req) return req:send("a/m") end },
      }]] }
    local status, _, err = run("serve", folder .. "/weir.lua")
    gateway.remove_folder(folder)
    assert.is_true(status ~= 0)
    assert.is_truthy(err:find("keys", 1, true))
  end)

  it("has help for each command, and a version", function()
    for _, words in ipairs { { "--help" }, { "serve", "--help" }, { "check", "--help" },
      { "mock", "--help" }, { "version", "--help" } } do
      local status, out = run(unpack(words))
      assert.equal(0, status)
      assert.is_truthy(out:find("weir", 1, true))
    end
    for _, name in ipairs { "serve", "check", "explain", "test", "reload", "rollback", "status",
      "limits", "keys", "teams", "usage", "requests", "mock", "version" } do
      local status, out = run("help", name)
      assert.same({ run(name, "--help") }, { status, out, "" })
    end
    assert.equal(2, (run("help", "nothing")))
    local status, out = run("version")
    assert.equal(0, status)
    assert.is_truthy(out:find("%d+%.%d+%.%d+"))
  end)

  it("fails when nobody can read what it prints", function()
    for _, words in ipairs { { "version" }, { "help", "keys" }, { "mock", "--help" } } do
      local command = process.start { "sh", "-c", 'exec "$@" >/dev/full', "sh",
        unpack(gateway.command(unpack(words))) }
      assert.equal(1, command:wait())
      assert.matches("weir: standard output cannot be written", command.text.err, 1, true)
    end
  end)

  it("says how it is used when it is used wrongly", function()
    for _, words in ipairs { {}, { "sreve" }, { "serve", "--nope" } } do
      local status, _, err = run(unpack(words))
      assert.equal(2, status)
      assert.is_truthy(err:find("weir", 1, true))
    end
  end)
end)
