-- What systemd hands over and is told: a socket that it opened, and how the gateway is.

local gateway = require("spec.support.gateway")
local http = require("spec.support.http")
local ledger = require("spec.support.ledger")
local libc = require("spec.support.libc")
local process = require("spec.support.process")
local socket = require("spec.support.socket")
local world = require("spec.support.world")
local ffi, C = libc.ffi, libc.C

local AF_UNIX, SOCK_STREAM, SOCK_DGRAM_NONBLOCK = 1, 1, 2 + 0x800

describe("under systemd", function()
  local w, folder, child

  before_each(function()
    w = world.new()
    w:upstream("first")
    folder = gateway.folder { ["weir.lua"] = w:config {} }
  end)

  after_each(function()
    if child then child:kill() end
    child = nil
    gateway.remove_folder(folder)
    w:close()
  end)

  --- LISTEN_PID must be the gateway's own, so a shell tells it and becomes it.
  local function start(env, fds, config)
    if config then
      local file = assert(io.open(folder .. "/weir.lua", "wb"))
      file:write(config)
      file:close()
    end
    env.KEY = "k"
    local argv = { "sh", "-c", 'export LISTEN_PID=$$; exec "$@"', "sh" }
    for _, word in ipairs(gateway.command("serve", folder .. "/weir.lua")) do
      argv[#argv + 1] = word
    end
    child = process.start(argv, env, fds)
    return child
  end

  local function wait_port()
    return child:wait_for("err", function(text)
      return tonumber(text:match("event=listening address=[%d.]+:(%d+)"))
    end, "the gateway to listen", 20)
  end

  local function unix_socket(kind, path)
    local fd = libc.check(C.socket(AF_UNIX, kind, 0), "socket")
    local address = ffi.new("char[110]")
    ffi.cast("unsigned short *", address)[0] = AF_UNIX
    ffi.copy(address + 2, path)
    libc.check(C.bind(fd, ffi.cast("const struct sockaddr_in *", address), 3 + #path), "bind")
    return fd
  end

  local function notify_socket(path) return unix_socket(SOCK_DGRAM_NONBLOCK, path) end

  local function wait_said(fd, words)
    assert.is_true(libc.wait(fd, libc.POLLIN, libc.deadline(20)), "nothing was said")
    local room = ffi.new("char[512]")
    local count = C.recv(fd, room, 512, 0)
    local said = ffi.string(room, count)
    assert.is_truthy(said:find(words, 1, true), said)
  end

  it("says when it serves, and when it stops", function()
    local fd = notify_socket(folder .. "/notify")
    start { NOTIFY_SOCKET = folder .. "/notify" }
    wait_said(fd, "READY=1")
    child:signal(libc.SIGTERM)
    wait_said(fd, "STOPPING=1")
    assert.equal(0, child:wait())
    C.close(fd)
  end)

  it("serves when nobody listens to what it says", function()
    start { NOTIFY_SOCKET = folder .. "/nobody" }
    wait_port()
    child:signal(libc.SIGTERM)
    assert.equal(0, child:wait())
  end)

  it("serves on a socket that was opened for it", function()
    local listener = socket.listen()
    start({ LISTEN_FDS = "1" }, { [3] = listener.fd })
    assert.equal(listener.port, wait_port())
    local client = http.connect(listener.port)
    assert.equal(200, client:request { path = "/healthz" }:read_response().status)
    client:close()
    child:signal(libc.SIGTERM)
    assert.equal(0, child:wait())
    listener:close()
  end)

  it("answers who connected between two gateways on that socket: a restart", function()
    local listener = socket.listen()
    start({ LISTEN_FDS = "1" }, { [3] = listener.fd })
    wait_port()
    child:signal(libc.SIGTERM)
    assert.equal(0, child:wait())
    local client = http.connect(listener.port):request { path = "/healthz" }
    start({ LISTEN_FDS = "1" }, { [3] = listener.fd })
    assert.equal(200, client:read_response().status)
    client:close()
    child:signal(libc.SIGTERM)
    assert.equal(0, child:wait())
    listener:close()
  end)

  it("keeps to that socket when a reload changes listen", function()
    local listener, free = socket.listen(), socket.reserve()
    start({ LISTEN_FDS = "1" }, { [3] = listener.fd })
    wait_port()
    local file = assert(io.open(folder .. "/weir.lua", "wb"))
    file:write((w:config {}:gsub("127.0.0.1:0", "127.0.0.1:" .. free.port)))
    file:close()
    child:wait_for("err", function(text)
      return text:find("event=reloaded cause=change generation=2", 1, true)
    end, "the reload")
    local client = http.connect(listener.port)
    assert.equal(2, client:request({ path = "/readyz" }):read_response().json.generation)
    client:close()
    assert.is_nil(socket.connect(free.port))
    free:close()
    listener:close()
  end)

  it("leaves descriptors alone that are not its own", function()
    local listener = socket.listen()
    child = process.start(gateway.command("serve", folder .. "/weir.lua"),
      { KEY = "k", LISTEN_FDS = "1", LISTEN_PID = "1" }, { [3] = listener.fd })
    assert.are_not.equal(listener.port, wait_port())
    listener:close()
  end)

  it("refuses what is no listening socket", function()
    local fd = notify_socket(folder .. "/notify")
    start({ LISTEN_FDS = "1" }, { [3] = fd })
    assert.equal(1, child:wait())
    assert.is_truthy(child.text.err:find("one listening TCP socket is wanted", 1, true))
    C.close(fd)
  end)

  it("refuses a unix socket, and says what to write", function()
    local fd = unix_socket(SOCK_STREAM, folder .. "/client.sock")
    libc.check(C.listen(fd, 8), "listen")
    start({ LISTEN_FDS = "1" }, { [3] = fd })
    assert.equal(1, child:wait())
    assert.is_truthy(child.text.err:find("ListenStream=127.0.0.1:4000", 1, true))
    C.close(fd)
  end)

  it("refuses a socket beyond loopback without keys", function()
    local listener = socket.listen(nil, nil, { 0, 0, 0, 0 })
    start({ LISTEN_FDS = "1" }, { [3] = listener.fd })
    assert.equal(1, child:wait())
    assert.is_truthy(child.text.err:find("without keys the gateway listens on loopback", 1, true))
    start({ LISTEN_FDS = "1" }, { [3] = listener.fd },
      w:config { more = '  workers = 1, keys = { weir.env "KEY" },' })
    child:wait_for("err", function(text)
      return text:find("event=listening address=0.0.0.0:" .. listener.port, 1, true)
    end, "the gateway to listen", 20)
    listener:close()
  end)

  it("needs no memory that becomes code: MemoryDenyWriteExecute", function()
    local under = { "luajit", "-joff", "spec/support/no_new_code.lua" }
    local probe = process.start { under[1], under[2], under[3], "true" }
    if probe:wait() == 77 then return pending("the kernel cannot forbid it") end
    local served = w:gateway { under = under, more = ledger.CONFIG, models = [[
      default = function(req)
        local sum = 0
        for i = 1, 1000 do sum = sum + i end
        return req:reply(200, { sum = sum })
      end,]] }
    local headers
    for i = 1, 30 do
      headers = ledger.key(served, "key" .. i, "--label", "a=b", "--budget", "5usd/day")
    end
    assert.equal(0, (ledger.run(served, "keys", "list")))
    assert.equal(0, (ledger.run(served, "usage", "--by", "key,day")))
    local response = served:chat({ headers = headers }):read_response()
    assert.same({ 200, 500500 }, { response.status, response.json.sum })
    assert.is_nil(served:log():find("died", 1, true))
  end)
end)
