--- The built gateway as a child: its weir.lua is written, it is started on a free
--- port, and it must end well.
--
-- WEIR names the binary (build/weir); WEIR_UNDER a command to run it under.  With WEIR_SPEC_TLS=1
-- its clients speak TLS in every spec that does not look at plain bytes.

local http = require("spec.support.http")
local libc = require("spec.support.libc")
local openai = require("spec.support.openai")
local process = require("spec.support.process")
local read_file = require("spec.support.read_file")

local Gateway = {}
Gateway.__index = Gateway

local gateway = {}

--- The command line of weir with these arguments.
function gateway.command(...)
  local argv = {}
  for word in (os.getenv("WEIR_UNDER") or ""):gmatch("%S+") do
    argv[#argv + 1] = word
  end
  argv[#argv + 1] = os.getenv("WEIR") or "build/weir"
  for _, word in ipairs { ... } do
    argv[#argv + 1] = word
  end
  return argv
end

--- A new folder with these files, by their names in it; gives its path.
---@param files table<string, string> a name may lead into one folder below
function gateway.folder(files)
  local template = libc.ffi.new("char[64]", "/tmp/weir-spec-XXXXXX")
  assert(libc.C.mkdtemp(template) ~= nil, libc.reason())
  local path = libc.ffi.string(template)
  for name, text in pairs(files) do
    local inner = name:match("^(.*)/")
    if inner then require("lfs").mkdir(path .. "/" .. inner) end
    local file = assert(io.open(path .. "/" .. name, "wb"))
    file:write(text)
    file:close()
  end
  return path
end

function gateway.remove_folder(path)
  local lfs = require("lfs")
  for name in lfs.dir(path) do
    local full = path .. "/" .. name
    if name ~= "." and name ~= ".." then
      if lfs.attributes(full, "mode") == "directory" then
        gateway.remove_folder(full)
      else
        os.remove(full)
      end
    end
  end
  lfs.rmdir(path)
end

--- The same weir.lua with TLS, no line of it moved.
local function with_tls(config)
  local member = 'return { tls = { cert = "spec.pem", key = "spec.key" },'
  for _, place in ipairs { "^()return {", "(\n)return {", "([ \n])return {" } do
    local secure, count = config:gsub(place, function(before)
      return (type(before) == "string" and before or "") .. member
    end, 1)
    if count == 1 then return secure end
  end
  return config
end

--- The files that it takes.
local function add_certificate(files)
  local tls = require("spec.support.tls")
  local folder = gateway.folder {}
  tls.make_certificate(folder, "spec", "localhost")
  for _, name in ipairs { "spec.pem", "spec.key" } do
    files[name] = read_file(folder .. "/" .. name)
  end
  gateway.remove_folder(folder)
end

--- Starts `weir serve` with this weir.lua and waits until it listens.  Its cut is how a client sees
--- a stream end that is cut: over TLS there is no last word.
---@param config string
---@param options { env: table?, files: table?, under: string[]? }?
function gateway.start(config, options)
  options = options or {}
  local files = { ["weir.lua"] = config }
  for name, text in pairs(options.files or {}) do
    files[name] = text
  end
  local secure = os.getenv("WEIR_SPEC_TLS") and not config:find("tls = {", 1, true)
  if secure then
    files["weir.lua"] = with_tls(config)
    add_certificate(files)
  end
  local folder = gateway.folder(files)
  local argv = {}
  for _, word in ipairs(options.under or {}) do
    argv[#argv + 1] = word
  end
  for _, word in ipairs(gateway.command("serve", folder .. "/weir.lua")) do
    argv[#argv + 1] = word
  end
  local self = setmetatable({ folder = folder, clients = {},
    is_secured = secure, tls = secure and {} or nil,
    cut = secure and "reset" or "closed" }, Gateway)
  self.process = process.start(argv, options.env)
  local started, port = pcall(self.process.wait_for, self.process, "err", function(text)
    return tonumber(text:match("event=listening[^\n]*address=\"?127%.0%.0%.1:(%d+)"))
  end, "the gateway to listen", 20)
  if not started then
    self.process:kill()
    gateway.remove_folder(folder)
    error(port, 2)
  end
  self.port = port
  return self
end

--- A new client's connection; it is closed when the gateway is stopped.  tls: what
--- spec.support.tls takes; gives nil and why when there is no handshake.  All clients speak TLS
--- where self.tls is set.
function Gateway:connect(options)
  if not self.process.ended then self:log() end -- a full pipe would cost lines
  local client = http.connect(self.port, options)
  self.clients[#self.clients + 1] = client
  local secure = options and options.tls or self.tls
  if secure then return require("spec.support.tls").secure(client, secure) end
  return client
end

--- Sends a request on a new connection, which it gives back.
function Gateway:request(request)
  return self:connect():request(request)
end

--- Sends a chat request on a new connection: plain or streamed.
---@param options { stream: boolean?, body: string?, model: string?, headers: table? }?
function Gateway:chat(options)
  options = options or {}
  return self:request {
    body = options.body or openai.request(options.stream, options.model),
    headers = options.headers,
  }
end

--- Waits for a log line with all these texts; gives the line.
function Gateway:wait_log(...)
  local wanted = { ... }
  return self.process:wait_for("err", function(text)
    for line in text:gmatch("([^\n]*)\n") do
      local has_all = true
      for _, part in ipairs(wanted) do
        has_all = has_all and line:find(part, 1, true) ~= nil
      end
      if has_all then return line end
    end
  end, "a log line with " .. table.concat(wanted, ", "))
end

--- The log so far.
function Gateway:log()
  return self.process:read("err")
end

--- Writes one of its files anew, as an editor does: beside it, then renamed over it.  TLS stays.
function Gateway:write(name, text)
  if self.is_secured and name == "weir.lua" then text = with_tls(text) end
  local path = self.folder .. "/" .. name
  local file = assert(io.open(path .. "~", "wb"))
  file:write(text)
  file:close()
  assert(os.rename(path .. "~", path))
end

--- Tells it to reload, and waits until that generation serves.
---@param number number
function Gateway:reload(number)
  self.process:signal(libc.SIGHUP)
  return self:wait_log("event=reloaded", ("generation=%d "):format(number))
end

--- Runs a command of weir on its weir.lua; gives the exit code and what it printed.
function Gateway:command(...)
  local argv = gateway.command(...)
  argv[#argv + 1] = self.folder .. "/weir.lua"
  local command = process.start(argv)
  local status = command:wait()
  return status, command.text.out .. command.text.err
end

--- What its admin socket answers to GET path.
---@param options? string curl's
function Gateway:ask_admin(path, options)
  local pipe = io.popen(("curl -s %s --unix-socket %s/data/admin.sock http://weir%s")
    :format(options or "", self.folder, path))
  local text = pipe:read("*a")
  pipe:close()
  return text
end

--- The ids of the workers.
function Gateway:workers()
  return self.process:children()
end

local function close_all(clients)
  for _, client in ipairs(clients) do
    client:close()
  end
end

--- Ends it with SIGTERM, its clients gone, and holds it to a clean end; gives the log.
function Gateway:stop(seconds)
  close_all(self.clients)
  if not self.process.ended then
    self.process:signal(libc.SIGTERM)
    local status, signal = self.process:wait(seconds or 10)
    local said = self.process.text.err
    if status ~= 0 then
      error(("the gateway ended with %s:\n%s"):format(status or "signal " .. signal, said), 2)
    end
    for _, sign in ipairs { "AddressSanitizer", "LeakSanitizer", "runtime error:" } do
      if said:find(sign, 1, true) then error(said, 2) end
    end
  end
  return self.process.text.err
end

--- Clears up, whatever state it is in.
function Gateway:discard()
  close_all(self.clients)
  for _, pid in ipairs(self.process.ended and {} or self:workers()) do
    libc.C.kill(pid, libc.SIGKILL)
  end
  self.process:kill()
  gateway.remove_folder(self.folder)
end

return gateway
