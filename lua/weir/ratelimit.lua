--- ratelimit.lua -- what a client is told of limits: in OpenAI's names and forms, whatever the
--- provider's are, so that clients that watch them need to know one kind.
local ratelimit = {}

--- The dimensions behind each of OpenAI's two; input and output tokens are tokens too.
local KINDS = {
  { name = "requests", first = "r" },
  { name = "tokens", first = "tio" },
}

--- "6m0s", "7.66s", "12ms", as OpenAI has it; rounded up, for who comes early is refused.
---@param seconds number
---@return string
function ratelimit.duration(seconds)
  if seconds < 1 then return ("%dms"):format(math.ceil(seconds * 1000)) end
  local ms = math.ceil(seconds * 1000 - 1e-6)
  local hours, minutes = math.floor(ms / 3600000), math.floor(ms / 60000) % 60
  local rest = ("%.3f"):format(ms % 60000 / 1000):gsub("%.?0+$", "")
  if rest == "" then rest = "0" end
  if hours > 0 then return ("%dh%dm%ss"):format(hours, minutes, rest) end
  return minutes > 0 and ("%dm%ss"):format(minutes, rest) or rest .. "s"
end

--- The quota of a kind with the least left; one that says what is left before one that does not.
local function tightest(quotas, kind)
  local found
  for _, item in ipairs(quotas) do
    local is_kind = kind.first:find(item.dimension:sub(1, 1), 1, true)
    local left = item.remaining or math.huge
    if is_kind and (not found or left < (found.remaining or math.huge)) then found = item end
  end
  return found
end

local function add(list, part, kind, value)
  if not value then return end
  list[#list + 1] = ("x-ratelimit-%s-%s"):format(part, kind.name)
  list[#list + 1] = value
end

--- Header names and values, one after the other, for an answer of this provider's with these
--- headers.
---@param entry table of settings.providers
---@param headers table<string, string> names in lower case
---@param now number wall seconds
---@return string[]
function ratelimit.synthesize(entry, headers, now)
  local list, quotas = {}, entry.quotas(headers, now)
  for _, kind in ipairs(KINDS) do
    local item = tightest(quotas, kind)
    if item then
      add(list, "limit", kind, item.limit and ("%d"):format(item.limit))
      add(list, "remaining", kind, item.remaining and ("%d"):format(item.remaining))
      add(list, "reset", kind, item.reset and ratelimit.duration(item.reset))
    end
  end
  return list
end

--- The headers about limits as the provider sent them, for ratelimit_headers = "forward".
---@param headers table<string, string>
---@return table<string, string>|nil
function ratelimit.forwarded(headers)
  local found
  for name, value in pairs(headers) do
    local are_texts = type(name) == "string" and type(value) == "string" -- a policy may differ
    if are_texts and name:find("ratelimit", 1, true) then
      found = found or {}
      found[name] = value
    end
  end
  return found
end

return ratelimit
