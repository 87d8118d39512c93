--- A scripted provider inside the spec's own process: it does nothing by itself,
--- so the spec decides every byte and every moment.

local http = require("spec.support.http")
local socket = require("spec.support.socket")

local Upstream = {}
Upstream.__index = Upstream

local upstream = {}

--- Listens on a free port.
function upstream.new()
  local holder = socket.reserve()
  return setmetatable({
    holder = holder, -- refused or not, the port is given to no other process
    listener = socket.listen(nil, holder.port),
    port = holder.port,
    url = ("http://127.0.0.1:%d/v1"):format(holder.port),
    connections = {},
    waiting = {}, -- accepted while looking whether anybody asks
  }, Upstream)
end

--- The next connection; an error at the deadline.
function Upstream:accept()
  if #self.waiting > 0 then return table.remove(self.waiting, 1) end
  local connection = http.provider(self.listener:accept())
  self.connections[#self.connections + 1] = connection
  return connection
end

--- Accepts a connection and reads its request; gives both.
function Upstream:take()
  local connection = self:accept()
  local request, why = connection:read_request()
  return connection, request or error("no request came: " .. why, 2)
end

--- Accepts a connection, reads its request, and answers.
function Upstream:answer(status, body, headers)
  local connection, request = self:take()
  connection:respond(status, body, headers)
  return connection, request
end

--- Accepts a connection, reads its request, and opens a stream with these events: all in one go, so
--- that no clock of the gateway's runs out between them when the spec has to wait for the machine.
function Upstream:stream(...)
  local connection, request = self:take()
  connection:start_stream(nil, ...)
  return connection, request
end

--- Whether another request was sent, on a new connection or on one it has.  A connection that
--- was made and closed without a byte asks for nothing.
function Upstream:is_asked()
  while self.listener:is_readable() do
    local connection = self:accept()
    connection.buffer = connection:try_receive() or ""
    if connection.buffer ~= "" then self.waiting[#self.waiting + 1] = connection end
  end
  for _, connection in ipairs(self.connections) do
    if connection.fd and connection:is_readable() and not connection:is_closed() then
      return true
    end
  end
  return false
end

--- From now on connections are refused.
function Upstream:refuse()
  self.listener:close()
end

function Upstream:close()
  for _, connection in ipairs(self.connections) do
    connection:close()
  end
  self.listener:close()
  self.holder:close()
end

return upstream
