--- url.lua -- reads a provider's base URL as strictly as it can be said.
local url = {}

local function host_problem(host)
  local inside = host:match("^%[(.*)%]$")
  if inside then
    return not inside:find("^[%x:.]*:[%x:.]*$") and "has a bad IPv6 address" or nil
  end
  if host == "" then return "names no host" end
  if not host:find("^[%w._-]+$") or host:find("^[.-]") or host:find("..", 1, true) then
    return "has a bad host name"
  end
end

local function port_problem(port)
  local number = port:find("^%d%d?%d?%d?%d?$") and tonumber(port)
  if not number or number < 1 or number > 65535 then return "has a bad port" end
end

--- Segments of dots would be resolved away on the road and lead elsewhere.
local function path_problem(path)
  if path:gsub("%%%x%x", ""):find("[^%w%-._~!$&'()*+,;=:@/]") then
    return "has a character that no URL has"
  end
  if (path .. "/"):find("/%.%.?/") then return "has a path with dots alone" end
end

local function split_authority(authority)
  local host, port = authority:match("^(%[[^%]]*%]):(.*)$")
  if not host then host, port = authority:match("^([^%[%]:]*):(.*)$") end
  return host or authority, port
end

--- The URL without a slash at its end, or nil and what is wrong, as the rest of a sentence.
---@param text string
---@return string|nil, string|nil
function url.read(text)
  local scheme, authority, path = text:match("^(https?)://([^/?#]*)(.*)$")
  if not scheme then return nil, 'must begin with "http://" or "https://"' end
  if authority:find("@", 1, true) then return nil, "must not hold credentials: use key" end
  if path:find("[?#]") then return nil, "must end with its path: no query, no fragment" end
  local host, port = split_authority(authority)
  local problem = host_problem(host) or port and port_problem(port) or path_problem(path)
  if problem then return nil, problem end
  return (text:gsub("/+$", ""))
end

return url
