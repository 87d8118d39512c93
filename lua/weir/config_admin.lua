--- config_admin.lua -- where operators get in: `admin = { listen, token, public, hosts }`.
---
--- The unix socket is there unless it is said otherwise: it is what `weir reload` speaks to, and
--- its mode guards it. A port wants a token, since everybody on the machine reaches it, web pages
--- in their browsers too.
local address = require("weir.address")
local config_provider = require("weir.config_provider")
local config_admin = {}

local UNIX = "data/admin.sock"

local function read_unix(c, path, value)
  if not value:find("^unix:[^%c]+$") then
    return c:problem(path, 'must be "unix:PATH", "HOST:PORT", or "off"')
  end
  return value:sub(#"unix:" + 1)
end

--- One place; a second of its kind is a problem.
local function add_place(c, path, value, admin)
  if type(value) ~= "string" then
    return c:wrong(path, 'a string like "unix:data/admin.sock" or "127.0.0.1:4001"', value)
  end
  local is_port = not value:find("^unix:") and value:find(":%d+$") ~= nil
  local name = is_port and "tcp" or "unix"
  if admin[name] then return c:problem(path, "is a second one of its kind") end
  admin[name] = (is_port and address.read or read_unix)(c, path, value)
end

local function read_listen(c, path, value)
  local admin = {}
  if value == "off" then return admin end
  if type(value) == "table" and not c.is_secret(value) then
    for i = 1, math.max(1, #value) do add_place(c, ("%s[%d]"):format(path, i), value[i], admin) end
    return admin
  end
  add_place(c, path, value, admin)
  if admin.tcp then admin.unix = UNIX end
  return admin
end

local function read_hosts(c, path, value)
  if type(value) ~= "table" or c.is_secret(value) then
    return c:wrong(path, 'a list of names, like { "weir.internal" }', value)
  end
  for i, host in ipairs(value) do
    if type(host) ~= "string" or not host:find("^[%w.-]+$") then
      c:problem(("%s[%d]"):format(path, i), "must be the name of a host, without a port")
    end
  end
  return value
end

local MEMBERS = {
  kind = "members",
  members = {
    listen = { kind = "custom", read = read_listen, default = { unix = UNIX } },
    token = { kind = "custom", read = function(c, path, value)
      return config_provider.check_secret(c, path, value) and value or nil
    end },
    public = { kind = "boolean", default = false },
    hosts = { kind = "custom", read = read_hosts, default = {} },
  },
}

--- The places, each nil where there is none, and what guards the port.
---@return { unix: string|nil, tcp: { host: string, port: integer }|nil, token: any,
---          hosts: string[] }
function config_admin.read(c, path, value)
  local own = c:read(path, MEMBERS, value)
  local admin = { unix = own.listen.unix, tcp = own.listen.tcp, token = own.token,
    hosts = { unpack(own.hosts) } }
  if admin.tcp and not admin.token then
    c:problem("admin.token", "is missing: a port needs one, since everybody on this machine "
      .. "reaches it", 'token = weir.file "admin.token"')
  end
  if admin.tcp and not own.public and not address.is_loopback(admin.tcp.host) then
    c:problem("admin.listen", "is reached from other machines, in plain HTTP: set admin.public = "
      .. 'true where that is meant, or listen on "127.0.0.1:PORT"')
  end
  return admin
end

return config_admin
