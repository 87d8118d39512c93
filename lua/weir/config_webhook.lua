--- config_webhook.lua -- whom the gateway tells of budgets: `ledger.webhook`.
---
--- The URL is often all that guards such a hook: it may be a secret, and C alone reads it then.
local check = require("weir.check")
local fetch = require("weir.fetch")
local header = require("weir.header")
local config_webhook = {}

local EXAMPLE = 'webhook = weir.env "WEIR_WEBHOOK"'

local function read_url(c, path, value)
  if c.is_secret(value) then return value end
  if type(value) ~= "string" then
    return c:wrong(path, "a URL, as a string or a secret", value, EXAMPLE)
  end
  local base, problem = fetch.split(value)
  if not base then return c:problem(path, problem) end
  return value
end

local function header_problem(c, name, value)
  local problem = header.framing_problem(name)
  if problem then return problem end
  if name:lower() == "content-type" then return "is set by the gateway itself" end
  if c.is_secret(value) then return nil end
  if type(value) ~= "string" then return "must be a string or a secret" end
  return header.value_problem(value)
end

--- As a provider's, a credential among them.
local function read_headers(c, path, value)
  if type(value) ~= "table" or c.is_secret(value) then
    return c:wrong(path, 'a table like { authorization = weir.env "HOOK_TOKEN" }', value)
  end
  local list = {}
  for _, name in ipairs(check.keys(value)) do
    local problem = header_problem(c, name, value[name])
    if problem then c:problem(check.join(path, name), problem) end
    list[#list + 1] = { name = name, value = value[name] }
  end
  return list
end

local MEMBERS = {
  kind = "members",
  members = {
    url = { kind = "custom", read = read_url },
    headers = { kind = "custom", read = read_headers, default = {} },
    private = { kind = "boolean", default = false },
  },
}

---@return { url: string|table, headers: { name: string, value: any }[], private: boolean }|nil
function config_webhook.read(c, path, value)
  if type(value) ~= "table" or c.is_secret(value) then value = { url = value } end
  if value.url == nil then
    return c:problem(check.join(path, "url"), "is missing: where to tell it", EXAMPLE)
  end
  local webhook = c:read(path, MEMBERS, value)
  return webhook.url and webhook or nil
end

--- For people: a URL that was written into the file shows its server alone.
function config_webhook.show(webhook, host)
  local names = {}
  for i, one in ipairs(webhook.headers) do names[i] = one.name end
  local is_secret = host.is_secret(webhook.url)
  return {
    url = is_secret and { secret = tostring(webhook.url) } or (fetch.split(webhook.url)),
    headers = host.json_array(names), private = webhook.private,
  }
end

return config_webhook
