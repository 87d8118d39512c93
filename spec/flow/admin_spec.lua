-- The admin side over TCP: its token, who is refused, and what a reload does to it.

local described = require("spec.support.described")
local gateway_of = require("spec.support.gateway")
local http = require("spec.support.http")
local libc = require("spec.support.libc")
local socket = require("spec.support.socket")
local world = require("spec.support.world")

local TOKEN = "admin-token-0123456789"
local GOOD = { Authorization = "Bearer " .. TOKEN }

describe("the admin port", function()
  local w

  before_each(function()
    w = world.new()
    w:upstream("first")
  end)
  after_each(function() w:close() end)

  local function config(admin)
    return w:config {
      more = ('  workers = 1, reload = { watch = false }, admin = %s,'):format(admin),
    }
  end

  local function start(admin)
    local started = w:gateway { config = config(admin
      or '{ listen = "127.0.0.1:0", token = weir.env "TOKEN" }'),
      env = { TOKEN = TOKEN, OTHER = "another-token-0123456789", SHORT = "short" } }
    if not admin or admin:find('listen = "127', 1, true) then
      started.admin = described.port(started)
    end
    return started
  end

  local function status(port, headers, path)
    local all = { { "Host", headers.Host or "127.0.0.1:" .. port } }
    for name, value in pairs(headers) do
      if name ~= "Host" then all[#all + 1] = { name, value } end
    end
    local client = http.connect(port)
    client:send(http.message("GET " .. (path or "/health") .. " HTTP/1.1", all))
    local response = client:read_response()
    client:close()
    return response.status, response
  end

  local function with(more)
    local headers = { Authorization = GOOD.Authorization }
    for name, value in pairs(more) do headers[name] = value end
    return headers
  end

  it("serves who has the token", function()
    local port = start().admin
    local code, response = status(port, GOOD)
    assert.equal(200, code)
    assert.equal("ok", response.json.status)
  end)

  it("takes a POST that has no body and tells no length, as curl -X POST sends it", function()
    local started = start()
    local client = http.connect(started.admin)
    client:send(http.message("POST /reload HTTP/1.1", { { "Host", "127.0.0.1:" .. started.admin },
      { "Authorization", GOOD.Authorization } }))
    local response = client:read_response()
    client:close()
    assert.equal(200, response.status)
    assert.equal(2, response.json.generation)
  end)

  it("takes a body in chunks, and of two requests in a row the first", function()
    local started = start()
    local head = "POST /explain HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " .. TOKEN
    local body = '{"model":"default","messages":[]}'
    local answers = {}
    for i, bytes in ipairs {
      "\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body,
      "\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body .. head .. "\r\n\r\n",
      "\r\nTransfer-Encoding: chunked\r\n\r\n"
        .. ("1\r\n{\r\n%x\r\n%s\r\n0\r\n\r\n"):format(#body - 1, body:sub(2)),
    } do
      local client = http.connect(started.admin)
      client:send(head .. bytes)
      local response = client:read_response()
      answers[i] = response.status .. " " .. response.body:gsub("%d+ ms", "")
      client:close()
    end
    assert.matches("^200 ", answers[1])
    assert.same({ answers[1], answers[1], answers[1] }, answers)
  end)

  describe("beside a socket that is another's", function()
    local ffi, C = libc.ffi, libc.C
    local AF_UNIX, STREAM, DGRAM, NONBLOCK = 1, 1, 2, 0x800
    local fds

    before_each(function() fds = {} end)
    after_each(function()
      for _, fd in ipairs(fds) do C.close(fd) end
    end)

    local function open(kind)
      fds[#fds + 1] = libc.check(C.socket(AF_UNIX, kind + NONBLOCK, 0), "socket")
      return fds[#fds]
    end

    local function address(path)
      local at = ffi.new("char[110]")
      ffi.cast("unsigned short *", at)[0] = AF_UNIX
      ffi.copy(at + 2, path)
      return ffi.cast("const struct sockaddr_in *", at), 3 + #path, at
    end

    --- A gateway that finds a socket of that kind where its own would be; its folder, its log.
    local function beside(kind, prepare)
      local folder = gateway_of.folder {}
      local path = folder .. "/taken.sock"
      local at, len, keeps = address(path)
      local fd = open(kind)
      libc.check(C.bind(fd, at, len), "bind")
      if prepare then prepare(fd, at, len) end
      local started = start(('{ listen = "unix:%s" }'):format(path))
      local line = started:wait_log("admin_unavailable", path)
      assert.equal("socket", require("lfs").attributes(path, "mode"), keeps and path)
      gateway_of.remove_folder(folder)
      return line
    end

    it("waits for none who does not accept", function()
      local line = beside(STREAM, function(fd, at, len)
        C.listen(fd, 0)
        repeat until C.connect(open(STREAM), at, len) ~= 0 -- no more fit
      end)
      assert.truthy(line:find("another gateway listens there", 1, true), line)
    end)

    it("takes none away that is of another kind", function()
      local line = beside(DGRAM)
      assert.truthy(line:find("Protocol wrong type", 1, true), line)
    end)
  end)

  it("refuses who has none, part of one, or more than one", function()
    local port = start().admin
    local code, response = status(port, {})
    assert.equal(401, code)
    assert.equal("Bearer", response.headers["www-authenticate"])
    for _, said in ipairs { "", TOKEN:sub(1, -2), TOKEN .. "x", TOKEN .. TOKEN, "other" } do
      assert.equal(401, (status(port, { Authorization = "Bearer " .. said })))
    end
    assert.equal(401, (status(port, { Authorization = "Basic " .. TOKEN })))
  end)

  it("refuses web pages and names that are not its own, token or not", function()
    local port = start().admin
    assert.equal(403, (status(port, with { Origin = "http://127.0.0.1:" .. port })))
    assert.equal(403, (status(port, with { Origin = "null" })))
    assert.equal(403, (status(port, with { Host = "evil.example" })))
    assert.equal(403, (status(port, with { Host = "evil.example:" .. port })))
    assert.equal(403, (status(port, with { Host = "127.0.0.1.evil.example" })))
    for _, own in ipairs { "localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:4001" } do
      assert.equal(200, (status(port, with { Host = own })))
    end
  end)

  it("takes the names that admin.hosts gives it", function()
    local port = start('{ listen = "127.0.0.1:0", token = weir.env "TOKEN", '
      .. 'hosts = { "weir.internal", "weir" } }').admin
    assert.equal(200, (status(port, with { Host = "weir.internal:4001" })))
    assert.equal(200, (status(port, with { Host = "weir" })))
    assert.equal(403, (status(port, with { Host = "internal" })))
  end)

  it("stands beside the socket, which wants no token", function()
    local started = start()
    assert.equal(0, (started:command("status")))
  end)

  it("leaves the socket to operators when others hold its connections", function()
    local started = start()
    local held = {}
    for i = 1, 20 do held[i] = http.connect(started.admin) end
    assert.equal(0, (started:command("status")))
    for _, one in ipairs(held) do one:close() end
  end)

  it("serves who asks in the place of who says nothing", function()
    local port = start().admin
    local idle = {}
    for i = 1, 12 do idle[i] = socket.connect(port) end -- all that the port has
    assert.equal(200, (status(port, GOOD)))
    assert.equal("", (idle[1]:read_all()))
    assert.is_false(idle[12]:is_closed())
    for _, one in ipairs(idle) do one:close() end
  end)

  it("shows settings without a secret", function()
    local port = start().admin
    local _, response = status(port, GOOD, "/config")
    assert.equal('weir.env "TOKEN"', response.json.admin.token.secret)
    assert.equal('weir.env "KEY"', response.json.providers[1].keys[1].secret)
    assert.is_nil(response.body:find(TOKEN, 1, true))
    assert.is_nil(response.body:find("provider-key", 1, true))
  end)

  it("moves with a reload, and takes another token", function()
    local started = start()
    local held = socket.reserve() -- nobody else is given it
    local port = held.port
    started:write("weir.lua",
      config(('{ listen = "127.0.0.1:%d", token = weir.env "OTHER" }'):format(port)))
    started:reload(2)
    assert.equal(200, (status(port, { Authorization = "Bearer another-token-0123456789" })))
    assert.equal(401, (status(port, GOOD)))
    assert.is_nil((socket.connect(started.admin)))
    held:close()
  end)

  it("comes and goes with a reload, the socket too", function()
    local started = start('{ listen = "off" }')
    assert.equal(1, (started:command("status")))
    started:write("weir.lua", config('{ listen = "127.0.0.1:0", token = weir.env "TOKEN" }'))
    started:reload(2)
    local port = tonumber(started:wait_log("event=admin_listening"):match("address=[%d.]+:(%d+)"))
    assert.equal(200, (status(port, GOOD)))
    assert.equal(0, (started:command("status")))
    started:write("weir.lua", config('{ listen = "off" }'))
    started:reload(3)
    assert.is_nil((socket.connect(port)))
    assert.equal(1, (started:command("status")))
  end)

  it("refuses a reload to a port that is taken, and stays where it was", function()
    local started = start()
    local taken = socket.listen()
    started:write("weir.lua",
      config(('{ listen = "127.0.0.1:%d", token = weir.env "TOKEN" }'):format(taken.port)))
    started.process:signal(libc.SIGHUP)
    local line = started:wait_log("event=reload_refused")
    assert.is_truthy(line:find("for admin.listen", 1, true))
    taken:close()
    assert.equal(200, (status(started.admin, GOOD)))
  end)

  it("refuses a token that is short or not there", function()
    for name, words in pairs { SHORT = "must have 16 to 255 bytes", NOBODY = "is not set" } do
      local folder = gateway_of.folder { ["weir.lua"] =
        config(('{ listen = "127.0.0.1:0", token = weir.env "%s" }'):format(name)) }
      local check = require("spec.support.process").start(
        gateway_of.command("check", folder .. "/weir.lua"), { KEY = "k", SHORT = "short" })
      assert.equal(3, check:wait(20))
      assert.is_truthy(check.text.err:find("admin.token: .*" .. words))
      gateway_of.remove_folder(folder)
    end
  end)
end)
