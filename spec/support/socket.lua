--- TCP sockets on loopback, with deadlines: what both ends of a spec are made of.
--
-- The peer's going is a value (nil and "closed" or "reset"); a deadline that
-- passes is an error, because nothing in a spec waits in vain on purpose.

local libc = require("spec.support.libc")
local ffi, C = libc.ffi, libc.C

local AF_INET, SOCK_STREAM, SOCK_FLAGS = 2, 1, 0x800 + 0x80000 -- NONBLOCK, CLOEXEC
local SOL_SOCKET, SO_REUSEADDR, SO_ERROR, SO_SNDBUF, SO_RCVBUF, SO_LINGER = 1, 2, 4, 7, 8, 13
local IPPROTO_TCP, TCP_NODELAY = 6, 1
local MSG_NOSIGNAL, MSG_PEEK = 0x4000, 2

local Socket = {}
Socket.__index = Socket

local socket = {}

local function loopback(port, host)
  local addr = ffi.new("struct sockaddr_in")
  addr.family = AF_INET
  addr.port = bit.bor(bit.lshift(bit.band(port, 255), 8), bit.rshift(port, 8))
  for i, number in ipairs(host or { 127, 0, 0, 1 }) do addr.addr[i - 1] = number end
  return addr
end

local function set_int(fd, level, name, value)
  local number = ffi.new("int[1]", value)
  libc.check(C.setsockopt(fd, level, name, number, 4), "setsockopt")
end

local function open(fd)
  set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1)
  return setmetatable({ fd = fd, buffer = "" }, Socket)
end

local function bind(port, host)
  local fd = libc.check(C.socket(AF_INET, SOCK_STREAM + SOCK_FLAGS, 0), "socket")
  set_int(fd, SOL_SOCKET, SO_REUSEADDR, 1)
  local addr = loopback(port or 0, host)
  libc.check(C.bind(fd, addr, ffi.sizeof(addr)), "bind")
  local len = ffi.new("socklen_t[1]", ffi.sizeof(addr))
  libc.check(C.getsockname(fd, addr, len), "getsockname")
  local swapped = addr.port
  local bound = bit.bor(bit.lshift(bit.band(swapped, 255), 8), bit.rshift(swapped, 8))
  return setmetatable({ fd = fd, port = bound, buffer = "" }, Socket)
end

--- A port of 127.0.0.1 on which nobody listens, and which nobody is given by chance until it is
--- closed; who wants just this one may listen on it.
---@return table reserved with port
function socket.reserve() return bind(0) end

--- A socket that listens on a free port of 127.0.0.1, or of another address: { 0, 0, 0, 0 }.
---@return table listener with fd and port
function socket.listen(backlog, port, host)
  local listener = bind(port, host)
  libc.check(C.listen(listener.fd, backlog or 64), "listen")
  return listener
end

--- Connects to a port of 127.0.0.1.
---@param port number
---@param options { receive_buffer: number }?
function socket.connect(port, options)
  local fd = libc.check(C.socket(AF_INET, SOCK_STREAM + SOCK_FLAGS, 0), "socket")
  if options and options.receive_buffer then
    set_int(fd, SOL_SOCKET, SO_RCVBUF, options.receive_buffer)
  end
  local addr = loopback(port)
  if C.connect(fd, addr, ffi.sizeof(addr)) == -1 and ffi.errno() ~= libc.EINPROGRESS then
    error("connect: " .. libc.reason())
  end
  assert(libc.wait(fd, libc.POLLOUT, libc.deadline()), "connecting took too long")
  local failure, len = ffi.new("int[1]"), ffi.new("socklen_t[1]", 4)
  C.getsockopt(fd, SOL_SOCKET, SO_ERROR, failure, len)
  if failure[0] ~= 0 then
    C.close(fd)
    return nil, ffi.string(C.strerror(failure[0]))
  end
  return open(fd)
end

--- The next connection to a listener; nil at the deadline when there is none.
---@param seconds number?
function Socket:try_accept(seconds)
  if not libc.wait(self.fd, libc.POLLIN, libc.deadline(seconds)) then return nil end
  return open(libc.check(C.accept4(self.fd, nil, nil, SOCK_FLAGS), "accept"))
end

--- The next connection to a listener.
function Socket:accept(seconds)
  return self:try_accept(seconds) or error("nobody connected", 2)
end

--- Sends as much as the kernel takes without waiting; gives the count, 0 when the
--- buffers are full, or nil when the peer is gone.
---@param bytes string
function Socket:try_send(bytes)
  local count = C.send(self.fd, bytes, #bytes, MSG_NOSIGNAL)
  if count >= 0 then return tonumber(count) end
  return ffi.errno() == libc.EAGAIN and 0 or nil
end

--- Sends all of it; nil when the peer is gone.
function Socket:send(bytes)
  local deadline = libc.deadline()
  while #bytes > 0 do
    local count = self:try_send(bytes)
    if not count then return nil end
    bytes = bytes:sub(count + 1)
    if #bytes > 0 and not libc.wait(self.fd, libc.POLLOUT, deadline) then
      error("the peer takes no more bytes", 2)
    end
  end
  return true
end

local room = ffi.new("char[?]", 65536)

--- More bytes as they come, or nil and "closed", "reset" or, past the deadline, "timeout".
---@param seconds number?
function Socket:try_receive(seconds)
  if not libc.wait(self.fd, libc.POLLIN, libc.deadline(seconds)) then return nil, "timeout" end
  local count = C.recv(self.fd, room, 65536, 0)
  if count > 0 then return ffi.string(room, count) end
  if count == 0 then return nil, "closed" end
  return nil, ffi.errno() == libc.EAGAIN and "timeout" or "reset"
end

local function fill(self, deadline)
  local bytes, why = self:try_receive((deadline - libc.now()) / libc.slower)
  if why == "timeout" then
    error(("nothing more came; so far: %q"):format(self.buffer:sub(1, 2000)), 3)
  end
  self.buffer = self.buffer .. (bytes or "")
  return bytes, why
end

--- Bytes up to and with the first plain text; nil, why and what there is when the peer goes first.
---@param text string
function Socket:read_until(text)
  local deadline, from = libc.deadline(), 1
  while true do
    local _, last = self.buffer:find(text, from, true)
    if last then
      local bytes = self.buffer:sub(1, last)
      self.buffer = self.buffer:sub(last + 1)
      return bytes
    end
    from = math.max(1, #self.buffer - #text + 2) -- of megabytes each is looked at once
    local _, why = fill(self, deadline)
    if why then return nil, why, self.buffer end
  end
end

--- Just that many bytes.
function Socket:read_exactly(count)
  local deadline = libc.deadline()
  local pieces, have = { self.buffer }, #self.buffer
  while have < count do
    local bytes, why = self:try_receive((deadline - libc.now()) / libc.slower)
    if why == "timeout" then error("the body stopped coming", 2) end
    if why then
      self.buffer = table.concat(pieces)
      return nil, why, self.buffer
    end
    pieces[#pieces + 1] = bytes
    have = have + #bytes
  end
  local all = table.concat(pieces)
  self.buffer = all:sub(count + 1)
  return all:sub(1, count)
end

--- All that comes until the peer goes, and how it went: "closed" or "reset".
function Socket:read_all(seconds)
  local pieces, deadline = { self.buffer }, libc.deadline(seconds)
  self.buffer = ""
  while true do
    local bytes, why = self:try_receive((deadline - libc.now()) / libc.slower)
    if why == "timeout" then error("the peer does not close", 2) end
    if why then return table.concat(pieces), why end
    pieces[#pieces + 1] = bytes
  end
end

--- Waits until the peer has closed or reset the connection, reading what comes before.
--- Gives the seconds that took.
function Socket:wait_closed(seconds)
  local began = libc.now()
  self:read_all(seconds)
  return libc.now() - began
end

--- Whether the peer has closed or reset already, without waiting and without reading.
function Socket:is_closed()
  if not libc.wait(self.fd, libc.POLLIN, 0) then return false end
  return C.recv(self.fd, room, 1, MSG_PEEK) <= 0
end

--- Whether bytes, or a connection, are there to be taken.
function Socket:is_readable()
  if not self.fd then return false end
  return #self.buffer > 0 or libc.wait(self.fd, libc.POLLIN, 0)
end

--- A small send buffer makes a slow reader felt at once.
function Socket:set_send_buffer(bytes)
  set_int(self.fd, SOL_SOCKET, SO_SNDBUF, bytes)
end

--- Says that no more will be sent; the other direction stays open.
function Socket:half_close()
  C.shutdown(self.fd, 1)
end

function Socket:close()
  if self.fd then C.close(self.fd) end
  self.fd = nil
end

--- Closes with RST instead of FIN.
function Socket:reset()
  local linger = ffi.new("struct linger", { l_onoff = 1, l_linger = 0 })
  C.setsockopt(self.fd, SOL_SOCKET, SO_LINGER, linger, ffi.sizeof(linger))
  self:close()
end

socket.Socket = Socket
return socket
