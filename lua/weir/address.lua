--- address.lua -- "HOST:PORT", where something listens.
local address = {}

--- Whether nobody but this machine gets there.
---@param host string
---@return boolean
function address.is_loopback(host)
  return host == "localhost" or host == "::1" or host:find("^127%.%d+%.%d+%.%d+$") ~= nil
end

local function is_address(host)
  if not host:find("^[%d.]+$") then return true end -- a name
  local a, b, c, d = host:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")
  return a ~= nil and math.max(tonumber(a), tonumber(b), tonumber(c), tonumber(d)) < 256
end

--- "127.0.0.1:4000", "[::1]:4000"; ":4000" is every interface; port 0 lets the system choose.
---@param c weir.Check
---@return { host: string, port: integer }|nil
function address.read(c, path, value)
  if type(value) ~= "string" then return c:wrong(path, 'a string like "127.0.0.1:4000"', value) end
  local host, port = value:match("^%[([%x:.]+)%]:(%d+)$")
  if not host then host, port = value:match("^([%w.-]*):(%d+)$") end
  port = tonumber(port)
  if not port or port > 65535 or not is_address(host) then
    return c:problem(path, 'must be "HOST:PORT", "[IPV6]:PORT" or ":PORT"')
  end
  return { host = host == "" and "0.0.0.0" or host, port = port }
end

return address
