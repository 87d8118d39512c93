--- header.lua -- the headers that a configuration adds to a provider's requests: which names
--- and values may go out.
local header = {}

local function set(...)
  local names = {}
  for _, name in ipairs { ... } do names[name] = true end
  return names
end

--- Message framing and what is for one connection only (RFC 9110, 7.6.1): the core's affair.
local FRAMING = set(
  "connection", "content-encoding", "content-length", "accept-encoding", "expect",
  "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade")

--- Where credentials travel: these come from "key".
local AUTH = set(
  "authorization", "proxy-authorization", "proxy-authenticate", "x-api-key", "api-key",
  "x-goog-api-key")

--- Why a name may not be used in any request, or nil.
---@param name any
---@return string|nil
function header.framing_problem(name)
  if type(name) ~= "string" or not name:find("^[%w!#$%%&'*+.^_`|~-]+$") then
    return "is not a header's name"
  end
  if FRAMING[name:lower()] then return "is set by the gateway itself" end
end

--- Why a name may not be used in a provider's requests, or nil.
---@param name any
---@return string|nil
function header.name_problem(name)
  local problem = header.framing_problem(name)
  if problem then return problem end
  if name:lower() == "content-type" then return "is set by the gateway itself" end
  if AUTH[name:lower()] then return "carries the credential: use key" end
end

--- Why a text may not be a header's value, or nil: no line may be smuggled in.
---@param value string
---@return string|nil
function header.value_problem(value)
  if value:find("[%z\1-\8\10-\31\127]") then return "must not hold control characters" end
end

return header
