--- HTTP/1.1 messages as bytes: written by hand, read with every frame in sight.
--
-- It adds methods to a socket; both ends use it, the client below and the
-- scripted provider of upstream.lua.

local json = require("dkjson")
local socket = require("spec.support.socket")

local http = {}

--- Headers in order and by lower-case name.
local function parse_headers(text)
  local by_name, list = {}, {}
  for name, value in text:gmatch("([^\r\n:]+):[ \t]*([^\r\n]*)\r\n") do
    list[#list + 1] = { name = name, value = value }
    by_name[name:lower()] = value
  end
  return by_name, list
end

--- Reads up to the blank line; gives the start line, the headers and the bytes.
local function read_head(self)
  local raw, why, partial = self:read_until("\r\n\r\n")
  if not raw then return nil, why, partial end
  local start, rest = raw:match("^(.-\r\n)(.*)$")
  local headers, list = parse_headers(rest)
  return { start = start:sub(1, -3), headers = headers, list = list, raw = raw }
end

--- The data of the next chunk; nil at the last one, nil and why when the peer goes first.
local function read_chunk(self)
  local line, why = self:read_until("\r\n")
  if not line then return nil, why end
  local size = assert(tonumber(line:match("^(%x+)\r\n$"), 16), "not a chunk size: " .. line)
  local data
  data, why = self:read_exactly(size + 2)
  if not data then return nil, why end
  assert(data:sub(-2) == "\r\n", "a chunk does not end with CRLF")
  if size == 0 then return nil end
  return data:sub(1, -3)
end

local function read_chunks(self)
  local chunks = {}
  while true do
    local data, why = read_chunk(self)
    if not data then return table.concat(chunks), why or "complete", chunks end
    chunks[#chunks + 1] = data
  end
end

--- The body that a head announces, and how it ended: "complete", "closed" or "reset".
local function read_body(self, head, until_close)
  if head.headers["transfer-encoding"] == "chunked" then return read_chunks(self) end
  local length = tonumber(head.headers["content-length"])
  if length then
    local body, why, partial = self:read_exactly(length)
    return body or partial, why or "complete"
  end
  if until_close then return self:read_all() end
  return "", "complete"
end

local function decode(text)
  local value = json.decode(text, 1, json.null)
  return value
end

--- A request or response with its headers in the order given.
---@param start string the first line
---@param headers table list of { name, value } or "Name: value", or a map
---@param body string?
function http.message(start, headers, body)
  local lines = { start }
  for _, header in ipairs(headers) do
    lines[#lines + 1] = type(header) == "table" and header[1] .. ": " .. header[2] or header
  end
  for name, value in pairs(headers) do
    if type(name) == "string" then lines[#lines + 1] = name .. ": " .. value end
  end
  return table.concat(lines, "\r\n") .. "\r\n\r\n" .. (body or "")
end

local Client = setmetatable({}, { __index = socket.Socket })
Client.__index = Client

--- A client's connection to the gateway.
---@param port number
function http.connect(port, options)
  return setmetatable(assert(socket.connect(port, options)), Client)
end

Client.read_head = function(self)
  local head, why, partial = read_head(self)
  if not head then return nil, why, partial end
  head.version, head.status = head.start:match("^HTTP/(%d%.%d) (%d%d%d)")
  head.status = tonumber(head.status)
  return head
end

Client.read_chunk = read_chunk
Client.read_chunks = read_chunks -- all that are left, joined, and how they ended

--- Chunks until they hold that many bytes: frames may share a chunk.
---@param count number
function Client:read_bytes(count)
  local text = ""
  while #text < count do
    local data, why = read_chunk(self)
    if not data then return text, why or "complete" end
    text = text .. data
  end
  return text
end

--- Sends a request; a table as body goes out as JSON, with the headers that belong to it.
---@param request { method: string?, path: string?, headers: table?, body: string|table? }
function Client:request(request)
  local body = request.body
  if type(body) == "table" then body = json.encode(body) end
  local headers = { { "Host", "gateway" } }
  for _, header in ipairs(request.headers or {}) do
    headers[#headers + 1] = header
  end
  for name, value in pairs(request.headers or {}) do
    if type(name) == "string" then headers[#headers + 1] = { name, value } end
  end
  if body then
    headers[#headers + 1] = { "Content-Type", "application/json" }
    headers[#headers + 1] = { "Content-Length", #body }
  end
  local method = request.method or (body and "POST" or "GET")
  self:send(http.message(method .. " " .. (request.path or "/v1/chat/completions") .. " HTTP/1.1",
    headers, body))
  return self
end

--- A whole response: the head with body, json, ended and, when it came so, chunks.
function Client:read_response()
  local head, why, partial = self:read_head()
  if not head then
    error(("no response, %s after %q"):format(why, partial), 2)
  end
  head.body, head.ended, head.chunks = read_body(self, head, true)
  if (head.headers["content-type"] or ""):find("application/json", 1, true) then
    head.json = decode(head.body)
  end
  return head
end

local Provider = setmetatable({}, { __index = socket.Socket })
Provider.__index = Provider

--- Gives an accepted connection the methods of a scripted provider.
function http.provider(connection)
  return setmetatable(connection, Provider)
end

--- The next request on this connection; nil and why when the gateway goes instead.
function Provider:read_request()
  local head, why = read_head(self)
  if not head then return nil, why end
  head.method, head.path = head.start:match("^(%S+) (%S+) HTTP/1%.1$")
  head.body = read_body(self, head)
  head.json = decode(head.body)
  return head
end

local reasons = { [200] = "OK", [429] = "Too Many Requests" }

--- A whole plain response; a table as body goes out as JSON.
function Provider:respond(status, body, headers)
  local text = type(body) == "table" and json.encode(body) or body or ""
  local all = { { "Content-Length", #text } }
  local said = false
  for name, value in pairs(headers or {}) do
    all[#all + 1] = { name, value }
    said = said or name:lower() == "content-type"
  end
  if not said then all[#all + 1] = { "Content-Type", "application/json" } end
  local start = ("HTTP/1.1 %d %s"):format(status, reasons[status] or "Status")
  return self:send(http.message(start, all, text))
end

local function chunk_of(bytes) return ("%x\r\n%s\r\n"):format(#bytes, bytes) end

--- The head of a stream, and the first of its frames; more follow as chunks.
function Provider:start_stream(headers, ...)
  local all = { "Content-Type: text/event-stream", "Transfer-Encoding: chunked" }
  for name, value in pairs(headers or {}) do
    all[#all + 1] = { name, value }
  end
  local chunks = {}
  for i, frame in ipairs { ... } do chunks[i] = chunk_of(frame) end
  return self:send(http.message("HTTP/1.1 200 OK", all, table.concat(chunks)))
end

--- Bytes as one HTTP chunk.
function Provider:send_chunk(bytes)
  return self:send(chunk_of(bytes))
end

--- The last chunk of a stream and its end, at once: who has read the one has read the other.
function Provider:send_last(bytes)
  return self:send(chunk_of(bytes) .. "0\r\n\r\n")
end

--- Ends the stream's body in order.
function Provider:finish_stream()
  return self:send("0\r\n\r\n")
end

http.decode = decode
return http
