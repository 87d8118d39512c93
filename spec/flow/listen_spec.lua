-- A reload that changes listen: the new address is there before the old one goes.

local libc = require("spec.support.libc")
local socket = require("spec.support.socket")
local world = require("spec.support.world")

describe("a reload of listen", function()
  local w

  before_each(function()
    w = world.new()
    w:upstream("first")
  end)

  after_each(function()
    w:close()
  end)

  local function to(address)
    return (w:config { more = '  workers = 1, reload = { watch = false }, '
      .. 'keys = { weir.env "KEY" },' }:gsub("127.0.0.1:0", address))
  end

  local function served_by(gateway)
    return gateway:request({ path = "/readyz" }):read_response().json.generation
  end

  it("listens on another address, and no longer on the old", function()
    local gateway = w:gateway { config = to("127.0.0.1:0") }
    local free = socket.reserve()
    local old, port = gateway.port, free.port
    local kept = gateway:connect()
    gateway:write("weir.lua", to("127.0.0.1:" .. port))
    gateway:reload(2)
    gateway.port = port
    assert.equal(2, served_by(gateway))
    kept:request { path = "/healthz" }
    assert.equal(200, kept:read_response().status)
    local deadline = libc.deadline()
    while true do
      local connection = socket.connect(old)
      if not connection then break end
      connection:close()
      assert(libc.now() < deadline, "the old address still listens")
    end
    free:close()
  end)

  it("refuses an address that is taken", function()
    local taken = socket.listen()
    local gateway = w:gateway { config = to("127.0.0.1:0") }
    gateway:write("weir.lua", to("127.0.0.1:" .. taken.port))
    gateway.process:signal(libc.SIGHUP)
    gateway:wait_log("event=reload_refused", "cannot listen on 127.0.0.1:" .. taken.port)
    assert.equal(1, served_by(gateway))
    taken:close()
  end)

  it("goes from loopback to all addresses of the same port, and back", function()
    local gateway = w:gateway { config = to("127.0.0.1:0") }
    local kept = gateway:connect()
    gateway:write("weir.lua", to(":" .. gateway.port))
    gateway:reload(2)
    gateway:wait_log("event=listening", "address=0.0.0.0:" .. gateway.port)
    assert.equal(2, served_by(gateway))
    gateway:write("weir.lua", to("127.0.0.1:" .. gateway.port))
    gateway:reload(3)
    assert.equal(3, served_by(gateway))
    kept:request { path = "/healthz" }
    assert.equal(200, kept:read_response().status)
  end)

  it("shares the port with no other gateway", function()
    local gateway = w:gateway { config = to("127.0.0.1:0") }
    gateway:write("weir.lua", to(":" .. gateway.port))
    gateway:reload(2)
    local process = require("spec.support.process")
    local commands = require("spec.support.gateway")
    local folder = commands.folder { ["weir.lua"] = to(":" .. gateway.port) }
    local other = process.start(commands.command("serve", folder .. "/weir.lua"), { KEY = "k" })
    assert.equal(1, other:wait())
    assert.is_truthy(other.text.err:find("Address already in use", 1, true))
    commands.remove_folder(folder)
  end)
end)
